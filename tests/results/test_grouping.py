"""Words and hidden special tokens, against loops over tokens written here."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from architectures import ARCHITECTURES, build, example
from browser import flow_of
from ligflow import Explainer, Flow, LigflowError
from ligflow.results.grouping import hide_special, merge_words
from ligflow.settings import ROUTES

MAPS = ("z2u", "u2z", "u2z_residual", "z2z", "conserving", "product")
CELLS = [(route, part) for route in ROUTES for part in ("total", "scale", "residue", "error", "origin")]

WORDS = [0, 1, 2, 2, 2, 3, 3, 3, 4]
"""[CLS], The, cat's, whiskers, [SEP]: the words of the nine tokens of the sentence below."""


@pytest.fixture(scope="module")
def minilm() -> Explainer:
    return Explainer.from_pretrained()


@pytest.fixture(scope="module")
def whole(minilm: Explainer) -> Flow:
    return minilm.explain("The cat's whiskers", layers=[0, 4], mlp_baseline="matched", att_baseline="mean")


@pytest.fixture(scope="module")
def some(minilm: Explainer) -> Flow:
    """Targets [CLS], s, kers and [SEP]: one word seen in part, one special at either end."""
    return minilm.explain("The cat's whiskers", layers=[2], targets=[0, 4, 7, 8])


@pytest.fixture(params=["whole", "some"])
def flow(request: pytest.FixtureRequest) -> Flow:
    return request.getfixturevalue(request.param)


def array(flow: Flow, name: str) -> np.ndarray:
    tensor = flow.composed(name) if name in ("conserving", "product") else flow.tensors[name]
    return tensor.double().numpy()


def sum_over_sources(tokens: np.ndarray, groups: list[list[int]]) -> np.ndarray:
    return np.stack([sum(tokens[..., source] for source in group) for group in groups], axis=-1)


def mean_over_targets(tokens: np.ndarray, groups: list[list[int]], axis: int) -> np.ndarray:
    means = [sum(np.take(tokens, row, axis) for row in group) / len(group) for group in groups]
    return np.stack(means, axis=axis)


def word_groups(flow: Flow) -> tuple[list[list[int]], list[list[int]]]:
    """Source tokens of each word, and rows of each word that is a target."""
    sources = [[i for i, word in enumerate(WORDS) if word == w] for w in range(5)]
    rows = [[row for row, target in enumerate(flow.targets) if WORDS[target] == w] for w in range(5)]
    return sources, [group for group in rows if group]


def merged_by_loops(flow: Flow, name: str) -> np.ndarray:
    sources, rows = word_groups(flow)
    tokens = array(flow, name)
    if name in ("u2z", "u2z_residual"):
        return mean_over_targets(tokens, rows, -1)
    return mean_over_targets(sum_over_sources(tokens, sources), rows, -2)


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAPS)
def test_words_sum_their_sources_and_average_their_targets(flow: Flow, name: str) -> None:
    merged = array(flow.merge_words(), name)
    np.testing.assert_allclose(merged, merged_by_loops(flow, name), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("route", "part"), CELLS)
def test_cells_of_words_are_means_over_targets(flow: Flow, route: str, part: str) -> None:
    _, rows = word_groups(flow)
    name = f"{route}.{part}"
    expected = mean_over_targets(array(flow, name), rows, -1)
    np.testing.assert_allclose(array(flow.merge_words(), name), expected, rtol=1e-5, atol=1e-7)


def test_labels_of_words(whole: Flow, some: Flow) -> None:
    merged = whole.merge_words()
    assert merged.tokens == ["[CLS]", "The", "cat's", "whiskers", "[SEP]"]
    assert merged.special == (True, False, False, False, True)
    assert (merged.targets, merged.layers, merged.heads) == ((0, 1, 2, 3, 4), (0, 4), 12)
    assert some.merge_words().targets == (0, 2, 3, 4)
    assert merged.meta["model"] == whole.meta["model"]


@pytest.mark.parametrize("route", ROUTES)
def test_words_stay_complete(whole: Flow, route: str) -> None:
    merged = whole.merge_words()
    sums = {"z2u": merged.z2u.sum(-1), "z2z": merged.z2z.sum(-1)}
    sums["u2z"] = merged.u2z.sum(1) + merged.u2z_residual
    torch.testing.assert_close(
        sums[route] - merged.total(route), merged.tensors[f"{route}.residue"], rtol=0, atol=2e-5
    )
    assert merged.certificate(route).abs().max() <= 1e-3


def test_a_word_misses_the_tolerance_if_one_of_its_targets_does(whole: Flow) -> None:
    met = whole.tensors["z2z.met"].clone()
    met[1, 5] = False
    flow = replace(whole, tensors={**whole.tensors, "z2z.met": met})
    (cell,) = flow.merge_words().unmet
    assert (cell.route, cell.layer, cell.target, cell.token) == ("z2z", 4, 3, "whiskers")


def test_a_flow_of_one_route_is_merged_too(minilm: Explainer) -> None:
    direct = minilm.explain("The cat's whiskers", routes=("z2z",), layers=[0])
    merged = direct.merge_words()
    assert set(merged.tensors) == set(direct.tensors)
    np.testing.assert_allclose(array(merged, "z2z"), merged_by_loops(direct, "z2z"), rtol=1e-5, atol=1e-5)


def test_a_flow_without_words_says_where_words_come_from() -> None:
    tiny = Explainer(build(ARCHITECTURES["bert"])).explain(
        example(ARCHITECTURES["bert"], 3), routes=("z2z",), layers=[0]
    )
    with pytest.raises(LigflowError, match="fast tokenizer"):
        tiny.merge_words()


def test_words_cannot_be_merged_twice(whole: Flow) -> None:
    with pytest.raises(LigflowError, match="has no words"):
        whole.merge_words().merge_words()


# --- hidden special tokens ------------------------------------------------------------------------


def test_hiding_drops_the_rows_and_columns_of_special_tokens(whole: Flow, some: Flow) -> None:
    shown = whole.hide_special()
    assert shown.tokens == whole.tokens[1:-1]
    assert (shown.targets, shown.special) == (tuple(range(7)), (False,) * 7)
    assert shown.meta["hidden_tokens"] == ["[CLS]", "[SEP]"]
    inner = slice(1, -1)
    for name in ("z2u", "z2z", "conserving", "product"):
        np.testing.assert_allclose(array(shown, name), array(whole, name)[..., inner, inner], rtol=1e-6)
    for name in ("u2z", "u2z_residual"):
        np.testing.assert_allclose(array(shown, name), array(whole, name)[..., inner], rtol=1e-6)
    assert some.hide_special().targets == (3, 6)
    assert [some.hide_special().tokens[i] for i in (3, 6)] == ["s", "##kers"]


@pytest.mark.parametrize("route", ["z2u", "z2z"])
def test_what_is_hidden_is_what_special_sources_contribute(flow: Flow, route: str) -> None:
    shown = flow.hide_special()
    rows = [row for row, target in enumerate(flow.targets) if 0 < target < 8]
    full = array(flow, route)[..., rows, :]
    np.testing.assert_allclose(shown.hidden(route).numpy(), full[..., 0] + full[..., 8], rtol=1e-4, atol=1e-5)
    visible = array(shown, route).sum(-1) + shown.hidden(route).double().numpy()
    np.testing.assert_allclose(visible, full.sum(-1), rtol=1e-5, atol=1e-5)
    assert shown.hidden(route).abs().max() > 0.01


@pytest.mark.parametrize("route", ROUTES)
def test_hiding_leaves_totals_and_certificates_alone(flow: Flow, route: str) -> None:
    shown = flow.hide_special()
    rows = [row for row, target in enumerate(flow.targets) if 0 < target < 8]
    torch.testing.assert_close(shown.total(route), flow.total(route)[..., rows], rtol=1e-6, atol=0)
    torch.testing.assert_close(
        shown.certificate(route), flow.certificate(route)[..., rows], rtol=1e-5, atol=1e-9
    )
    assert shown.nodes(route).equal(flow.nodes(route)[:, rows])


def test_hiding_twice_hides_no_more(whole: Flow) -> None:
    once, twice = whole.hide_special(), whole.hide_special().hide_special()
    assert twice.tokens == once.tokens
    torch.testing.assert_close(twice.hidden("z2z"), once.hidden("z2z"), rtol=1e-4, atol=1e-5)


def test_a_flow_of_special_targets_alone_cannot_be_hidden(minilm: Explainer) -> None:
    flow = minilm.explain("hello", targets=[0], routes=("z2z",), layers=[0])
    with pytest.raises(LigflowError, match="Nothing is left"):
        flow.hide_special()


# --- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [*MAPS, *itertools.starmap("{}.{}".format, CELLS), "z2u.hidden", "z2z.hidden"]
)
def test_merging_and_hiding_commute(flow: Flow, name: str) -> None:
    one, other = merge_words(hide_special(flow)), hide_special(merge_words(flow))
    assert (one.tokens, one.targets, one.special) == (other.tokens, other.targets, other.special)
    assert one.tokens == ["The", "cat's", "whiskers"]
    np.testing.assert_allclose(array(one, name), array(other, name), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("route", ["z2u", "z2z"])
def test_mass_is_conserved_through_both(flow: Flow, route: str) -> None:
    shown = flow.hide_special().merge_words()
    residue = shown.tensors[f"{route}.residue"]
    visible = shown.tensors[route].sum(-1) + shown.hidden(route)
    torch.testing.assert_close(visible, shown.total(route) + residue, rtol=1e-4, atol=2e-5)


def test_labels_and_places_of_what_stays_are_its_own() -> None:
    """Of six tokens the first and the last are special: words, their places and the first patch move up."""
    meta = {
        "words": [0, 1, 1, 2, 3, 4], "word_labels": ["[CLS]", "ships", "at", "sea", "[SEP]"],
        "word_places": [-1, 0, 1, 2, -1], "patches": {"first": 2, "rows": 1, "columns": 4},
    }  # fmt: skip
    flow = flow_of(["[CLS]", "sh", "ips", "at", "sea", "[SEP]"])
    found = hide_special(replace(flow, special=(True, *(False,) * 4, True), meta={**flow.meta, **meta}))
    assert found.tokens == ["sh", "ips", "at", "sea"]
    assert found.meta["words"] == [0, 0, 1, 2]
    assert found.meta["word_labels"] == ["ships", "at", "sea"]
    assert found.meta["word_places"] == [0, 1, 2]
    assert found.meta["patches"] == {"first": 1, "rows": 1, "columns": 4}
    assert found.meta["hidden_tokens"] == ["[CLS]", "[SEP]"]
