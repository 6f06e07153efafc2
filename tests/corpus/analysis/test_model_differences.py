"""Two models compared: nothing where nothing differs, and the head that was changed."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, LigflowError
from ligflow.corpus.analysis.model_differences import CHANGES, Difference, Pair, compare, pair, summed
from ligflow.corpus.reports.comparison_page import page, verdict
from ligflow.corpus.sources.sentence import Sentence
from ligflow.explainer.pretrained import load
from two_models import SENTENCES, TEXTS, perturbed

pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.fixture(scope="module")
def minilm() -> tuple[Any, Any]:
    return load("embedded:minilm", torch.float32)


def of_family(found: list[Difference], family: str) -> list[Difference]:
    return [one for one in found if one.family == family]


def test_a_model_and_itself(minilm: tuple[Any, Any]) -> None:
    a, b = Explainer(*minilm), Explainer(copy.deepcopy(minilm[0]), minilm[1])
    for shared in (True, False):
        found = compare(a, b, SENTENCES[:2], layers=[1, 2], shared=shared, draws=100)
        assert all(one.mean == 0 and one.adjusted == 1 for one in found)
        assert "No difference at all" in verdict(found)
        assert len(found) == 2 * 12 + 2 + 2 * 12 * len(CHANGES)


def test_the_head_that_was_changed_is_found(minilm: tuple[Any, Any]) -> None:
    a, b = Explainer(*minilm), Explainer(perturbed(minilm[0], 2, 7), minilm[1])
    found = compare(a, b, SENTENCES, layers=[1, 2], draws=100)
    heads = [(one.layer, one.head) for one in of_family(found, "route") if one.found]
    assert heads == [(2, 7)]
    others = [one.mean for one in of_family(found, "route") if (one.layer, one.head) != (2, 7)]
    assert max(others) < 1e-6
    assert [one.layer for one in of_family(found, "layer") if one.found] == [2]
    assert "layer 2 head 7" in verdict(found)
    assert "for the tests of `change`: 288 tests on 9 sentences can find nothing" in verdict(found)
    assert "for the tests of `route`" not in verdict(found)
    alone = compare(a, b, SENTENCES[:3], layers=[1, 2, 3], shared=False, draws=100)
    later = [one.mean for one in of_family(alone, "route") if one.layer == 3]
    assert min(later) > 1e-4  # by itself, what follows the changed head differs too
    before = [one.mean for one in of_family(alone, "route") if one.layer == 1]
    assert max(before) < 1e-6


def test_distances_are_half_the_difference_of_shares(minilm: tuple[Any, Any]) -> None:
    a, b = Explainer(*minilm), Explainer(perturbed(minilm[0], 0, 3), minilm[1])
    first, other = a.explain(TEXTS[1], layers=0), b.explain(TEXTS[1], layers=0)
    rows = [flow.z2u[0, 3] / flow.z2u[0, 3].abs().sum(-1, keepdim=True) for flow in (first, other)]
    expected = float(((rows[0] - rows[1]).abs().sum(-1) / 2).mean())
    found = pair(a, b, SENTENCES[1], [0], shared=True, words=False)
    assert found.route[0, 3] == pytest.approx(expected, rel=1e-4)
    shares = [flow.u2z[0].abs() / flow.u2z[0].abs().sum(0) for flow in (first, other)]
    use = float((shares[1] - shares[0])[3].mean())
    assert found.change[0, 3, CHANGES.index("use")] == pytest.approx(use, abs=1e-5)


def test_layers_are_given_the_hidden_states_of_the_other(minilm: tuple[Any, Any]) -> None:
    a, b = Explainer(*minilm), Explainer(perturbed(minilm[0], 0, 3), minilm[1])
    given, own = b.explain_on(TEXTS[1], a, layers=[2]), b.explain(TEXTS[1], layers=[2])
    real = a.explain(TEXTS[1], layers=[2])  # layer 2 is the same in both
    torch.testing.assert_close(given.z2z, real.z2z, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(own.z2z, real.z2z, rtol=1e-2)
    assert given.meta["hidden_states_of"] == a.name


def test_changes_lean_to_one_side() -> None:
    draws = np.random.default_rng(0)
    pairs = []
    for number in range(20):
        change = draws.normal(size=(2, 3, len(CHANGES)))
        change[1, 2, CHANGES.index("previous")] = -0.3 - 0.01 * number
        route = draws.uniform(size=(2, 3))
        pairs.append(Pair(number, (4, 7), route, route.mean(1), change))
    found = of_family(summed(pairs, draws=200), "change")
    out = [one for one in found if one.found]
    assert [(one.layer, one.head, one.measure) for one in out] == [(7, 2, "previous")]
    assert out[0].mean == pytest.approx(-0.3 - 0.01 * 9.5)
    assert out[0].low < out[0].mean < out[0].high
    assert out[0].p == pytest.approx(2 / 2**20)
    assert out[0].adjusted == pytest.approx(len(found) * 2 / 2**20)
    assert "| 7 | 2 | previous |" in page(summed(pairs, draws=200), "x", "y")


def test_what_stands_out_is_over_the_margin() -> None:
    """Head 2 of layer 0 always at 1.5 times the others' median, head 0 of layer 1 at 3 times."""
    route = np.ones((2, 5))
    route[0, 2], route[1, 0] = 1.5, 3.0
    pairs = [Pair(n, (0, 1), (1 + n) * route, np.ones(2), np.zeros((2, 5, len(CHANGES)))) for n in range(20)]
    for margin, expected in ((2.0, [(1, 0)]), (1.0, [(0, 2), (1, 0)])):
        found = of_family(summed(pairs, margin, draws=100), "route")
        assert [(one.layer, one.head) for one in found if one.found] == expected
        assert found[2].others == pytest.approx(margin * 10.5)
    with pytest.raises(LigflowError, match="margin is 0; what stands out is over the others"):
        summed(pairs, 0)


def test_models_that_do_not_fit() -> None:
    bert = Explainer(build(ARCHITECTURES["bert"]), name="small")
    inputs = example(ARCHITECTURES["bert"], 5)
    wide = ARCHITECTURES["bert"].config | {"hidden_size": 64}
    other = Explainer(build(type(ARCHITECTURES["bert"])("BertModel", wide)), name="wide")
    with pytest.raises(
        LigflowError, match=r"Layer 0 of small takes hidden states of shape \(5, 32\), and that"
    ):
        bert.explain_on(inputs, other)


def test_other_tokens_and_words(minilm: tuple[Any, Any], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    model, tokenizer = minilm
    tokenizer.save_pretrained(tmp_path)
    vocabulary = (tmp_path / "tokenizer.json").read_text(encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text(vocabulary.replace('"softly":', '"softlyx":'), encoding="utf-8")
    a, b = (
        Explainer(model, tokenizer),
        Explainer(model, AutoTokenizer.from_pretrained(tmp_path), name="other"),
    )
    with pytest.raises(LigflowError, match="cut this text into different tokens"):
        compare(a, b, SENTENCES[2:3], layers=[0])
    with pytest.raises(LigflowError, match=r"cut made:3 into different tokens.*compare words \(--words\)"):
        compare(a, b, SENTENCES[2:3], layers=[0], shared=False)
    with pytest.raises(LigflowError, match="over words compare each by itself"):
        compare(a, b, SENTENCES[2:3], layers=[0], words=True)
    found = compare(a, b, SENTENCES[2:3], layers=[0], shared=False, words=True, draws=100)
    assert 0 < of_family(found, "layer")[0].mean < 1
    with pytest.raises(LigflowError, match="There is no sentence to compare on"):
        compare(a, b, [])


def test_a_sentence_that_cannot_be_explained(minilm: tuple[Any, Any]) -> None:
    a = Explainer(*minilm)
    long = Sentence(7, "word " * 600, "made:8")
    with pytest.raises(LigflowError, match="made:8 cannot be compared, choose other sentences: "):
        compare(a, a, [long], layers=[0])


def test_other_numbers_of_layers(minilm: tuple[Any, Any]) -> None:
    model, tokenizer = minilm
    short = copy.deepcopy(model)
    short.encoder.layer = short.encoder.layer[:4]
    a, b = Explainer(model, tokenizer), Explainer(short, tokenizer, name="short")
    with pytest.raises(LigflowError, match=r"has 6 layers of 12 heads, short 4 of 12: their heads have no"):
        compare(a, b, SENTENCES[:1])
