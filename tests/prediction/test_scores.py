"""Scores of outputs, beside softmax and sigmoid written out."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ligflow import LigflowError
from ligflow.prediction.scores import (
    check_score,
    class_contrast,
    class_score,
    own_score,
    tokens_contrast,
    tokens_score,
)  # fmt: skip

LOGITS = torch.tensor([[[0.0, 1.0, 2.0], [3.0, -1.0, 0.5]], [[1.0, 1.0, 1.0], [0.0, 0.0, 4.0]]]).double()
TOKENS = SimpleNamespace(logits=LOGITS)
CLASSES = SimpleNamespace(logits=LOGITS[:, 0])
SHARES = LOGITS.exp() / LOGITS.exp().sum(-1, keepdim=True)


def test_tokens_are_read_each_at_its_own_place() -> None:
    wanted = torch.stack([SHARES[:, 0, 2].log(), SHARES[:, 1, 0].log()], 1)
    torch.testing.assert_close(tokens_score([2, 0], "logprob", rows=True)(TOKENS), wanted)
    torch.testing.assert_close(tokens_score([2, 0], "logprob")(TOKENS), wanted.sum(1, keepdim=True))
    assert tokens_score([2, 0], "logit")(TOKENS)[:, 0].tolist() == [2 + 3, 1 + 0]


def test_a_contrast_is_a_difference_of_logits() -> None:
    assert tokens_contrast([1], [0], [2])(TOKENS)[:, 0].tolist() == [3 - 0.5, 0 - 4]
    assert tokens_contrast([0, 1], [0, 0], [1, 2])(TOKENS)[:, 0].tolist() == [0 - 1 + 3 - 0.5, 0 - 4]
    assert class_contrast(2, 0)(CLASSES)[:, 0].tolist() == [2, 0]
    assert class_contrast(2, 0, position=1)(TOKENS)[:, 0].tolist() == [0.5 - 3, 4]


def test_a_class_has_a_share_of_all_or_one_of_its_own() -> None:
    torch.testing.assert_close(class_score(1, "logprob", 3, False)(CLASSES)[:, 0], SHARES[:, 0, 1].log())
    own = 1 / (1 + (-LOGITS[:, 0, 1]).exp())
    torch.testing.assert_close(class_score(1, "logprob", 3, True)(CLASSES)[:, 0], own.log())
    assert class_score(1, "logit", 3, True)(CLASSES)[:, 0].tolist() == [1, 1]
    assert class_score(2, "logprob", 1, False)(CLASSES)[:, 0].tolist() == [2, 1]  # one number is itself
    torch.testing.assert_close(class_score(0, "logprob", 3, False, 1)(TOKENS)[:, 0], SHARES[:, 1, 0].log())


@pytest.mark.parametrize("values", [3.0, torch.zeros(2, 1, 1), torch.zeros(2).int(), None], ids=str)
def test_a_function_gives_a_number_for_each_point(values: Any) -> None:
    with pytest.raises(LigflowError, match="must give a real number for each"):
        own_score(lambda _: values)(TOKENS)
    assert own_score(lambda outputs: outputs.logits[:, 0, 1])(TOKENS).shape == (2, 1)
    with pytest.raises(LigflowError, match="score is 'loss'; choose from logprob, logit"):
        check_score("loss")


def test_scores_of_float32_logits_are_computed_in_float64() -> None:
    """The probabilities of a large vocabulary would not sum to 1 otherwise, nor their slopes to 0."""
    logits = 4 * torch.randn(1, 1, 2**18, generator=torch.Generator().manual_seed(0))
    score = tokens_score([7], "logprob")(SimpleNamespace(logits=logits))
    wanted = float(logits.double().log_softmax(-1)[0, 0, 7])
    assert float(score) == pytest.approx(wanted, abs=1e-12)
    assert abs(float(logits.log_softmax(-1)[0, 0, 7]) - wanted) > 1e-9
