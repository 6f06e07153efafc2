"""Tokens of two texts that make them similar together: beside products of integrated gradients."""

import warnings

import pytest
import torch
from numpy.polynomial.legendre import leggauss

from asked_models import bert_base
from ligflow import CompletenessWarning
from ligflow.prediction.similarity import explain_similarity

TEXT, OTHER = "the cat sat", "a dog ran on"


def test_pairs_of_tokens_are_products_of_what_each_does_to_its_texts_vector() -> None:
    found = explain_similarity(bert_base(), TEXT, OTHER, pairs=True, cut="model", points=31)

    def parts(text: str, masked: str) -> torch.Tensor:
        """What each token does to each component, by integrated gradients of every component."""
        model, tokenizer = bert_base().model, bert_base().tokenizer
        table = model.get_input_embeddings().weight.detach()
        real, start = (table[tokenizer(each, return_tensors="pt")["input_ids"][0]] for each in (text, masked))

        def unit(at: torch.Tensor) -> torch.Tensor:
            pooled = model(inputs_embeds=at[None]).last_hidden_state[0].mean(0)
            return torch.nn.functional.normalize(pooled, dim=0)

        nodes, weights = (torch.tensor(each) for each in leggauss(40))
        total = torch.zeros(16, len(real), dtype=torch.float64)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            slopes = torch.autograd.functional.jacobian(unit, start + node * (real - start))
            total += weight * (slopes * (real - start)).sum(-1)
        return total

    mine, theirs = parts(TEXT, "[MASK] [MASK] [MASK]"), parts(OTHER, "[MASK] [MASK] [MASK] [MASK]")
    assert found.pairs is not None
    torch.testing.assert_close(found.pairs, mine.T @ theirs, atol=1e-5, rtol=1e-4)
    assert float(found.pairs.sum()) == pytest.approx(found.pairs_change, abs=1e-5)
    assert found.pairs_change == pytest.approx(float(mine.sum(1) @ theirs.sum(1)), abs=1e-5)


@pytest.mark.parametrize("points", [3, 7])
def test_the_error_of_pairs_is_no_less_than_what_they_are_off_and_falls_with_it(points: int) -> None:
    """As careful as the error of a side, which is of a tiny model some thirty times what that is off."""
    exact = explain_similarity(bert_base(), TEXT, OTHER, pairs=True, points=31)
    found = explain_similarity(bert_base(), TEXT, OTHER, pairs=True, points=points, tol=0.9)
    assert found.pairs is not None
    assert found.pairs_error is not None
    off = float((found.pairs - exact.pairs).abs().sum())
    assert off < float(found.pairs_error.sum()) < 100 * off
    assert torch.equal(found.pairs_error == 0, found.pairs == 0)  # what is kept


def test_pairs_take_the_points_that_are_asked_for_and_warn_where_they_do_not_add_up() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", CompletenessWarning)
        few = explain_similarity(bert_base(), TEXT, OTHER, pairs=True, cut="model", points=3, tol=1e-9)
    assert len(said) == 3  # of either side, and of the pairs
    assert any("The pairs add up to" in str(each.message) for each in said)
    assert few.pairs is not None
    assert float(few.pairs.sum()) != pytest.approx(few.pairs_change, abs=1e-9)
