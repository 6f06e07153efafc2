"""Ladders: what flows through each link, and how it is drawn."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from browser import flow_of, still_head
from figure_flows import TOKENS, one_large_cell
from ligflow import Flow, LigflowError
from ligflow.view.figures import plot
from ligflow.view.ladder import links
from ligflow.view.select import by_head


@pytest.fixture
def flow() -> Flow:
    return one_large_cell()


@pytest.mark.parametrize("still", [False, True])
def test_ladder_links_conserve_the_row(flow: Flow, still: bool) -> None:
    """What leaves the sources passes the heads and arrives: the rows of the conserving map."""
    made = still_head(flow) if still else flow
    known = made.composed()[1]
    every = links(made, 1)
    torch.testing.assert_close(every.first.sum(1), known.sum(0), rtol=1e-4, atol=1e-4)
    assert every.last is not None
    torch.testing.assert_close(every.last.sum(0), known.sum(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(every.first.sum(0), every.last.sum(1), rtol=1e-4, atol=1e-4)
    one = links(made, 1, target=2)
    torch.testing.assert_close(one.first.sum(1), known[2], rtol=1e-4, atol=1e-4)


def test_a_ladder_without_heads_is_the_direct_map() -> None:
    direct = flow_of(TOKENS, routes=("z2z",), targets=[1, 3])
    found = links(direct, 1)
    assert found.last is None
    torch.testing.assert_close(found.first[:, [1, 3]], direct.z2z[1].T)
    assert not found.first[:, [0, 2]].any()
    assert len(plot(direct, "ladder").axes[0].patches) > 0


def test_a_ladder_says_what_it_leaves_out(flow: Flow) -> None:
    axes = plot(flow, "ladder", target=3).axes[0]
    assert axes.get_title() == "Layer 2: links of ‘keeper’ that carry 95% of the magnitude"
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("$x$ <b>") == 2
    assert {"h0", "h2", "res", "sources", "heads", "targets"} <= {*texts}


def test_widths_of_links_compare_across_the_columns_of_a_ladder(flow: Flow) -> None:
    found = links(flow, 2, target=3)
    assert found.last is not None
    widest = [
        max(
            patch.get_linewidth()
            for patch in plot(flow, "ladder", target=3).axes[0].patches
            if left(patch) == c
        )
        for c in (0, 1)
    ]
    most = [float(weights.abs().max()) for weights in (found.first, found.last)]
    assert widest == pytest.approx([0.2 + 3 * one / max(most) for one in most])
    assert widest[0] != widest[1]


def left(patch: Any) -> int:
    return int(patch.get_path().vertices[0, 0])


@pytest.mark.parametrize(
    ("routes", "name"),
    [
        (("z2u", "u2z", "z2z"), "Layer 1: token to token, through the heads"),
        (("z2z",), "Layer 1: token to token"),
    ],
)
def test_a_ladder_of_words_names_its_map(routes: tuple[str, ...], name: str) -> None:
    made = flow_of(TOKENS, routes=routes, words=[0, 1, 1, 2], word_labels=["[CLS]", "thex", "keeper"])
    merged = made.merge_words()
    known = merged.composed()[1] if "z2u" in routes else merged.z2z[1]
    torch.testing.assert_close(links(merged, 1).first.T[list(merged.targets)], known)
    title = plot(merged, "ladder").axes[0].get_title()
    assert title == f"{name}\nlinks that carry 95% of the magnitude"


def test_a_ladder_without_special_tokens_keeps_its_heads(flow: Flow) -> None:
    marked = replace(flow, special=(True, False, False, False))
    hidden, whole = links(marked.hide_special(), 1), links(marked, 1)
    assert hidden.last is not None
    known = by_head(marked, 1, [1, 2, 3])[:, :, 1:]
    torch.testing.assert_close(hidden.first, known.sum(1).T.float(), rtol=1e-4, atol=1e-5)
    assert whole.last is not None
    assert hidden.last.shape == (flow.heads + 1, 3)


@pytest.mark.parametrize("route", ["z2u", "u2z"])
def test_a_ladder_says_which_routes_it_needs(route: str) -> None:
    words = f"Kind 'ladder' needs routes z2u and u2z, or z2z, and this flow holds {route}\\."
    with pytest.raises(LigflowError, match=words):
        plot(flow_of(TOKENS, routes=(route,)), "ladder")
