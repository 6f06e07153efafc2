"""Every kind of figure, and what is refused."""

from typing import Any

import pytest

from browser import flow_of
from figure_flows import TOKENS, one_large_cell
from ligflow import Flow, LigflowError
from ligflow.view.figures import KINDS, plot


@pytest.fixture
def flow() -> Flow:
    return one_large_cell()


@pytest.mark.parametrize("kind", ["merged", "hidden"])
def test_regrouped_flows_have_figures(kind: str) -> None:
    made = flow_of(TOKENS, words=[0, 1, 1, 2], word_labels=["[CLS]", "thex", "keeper"])
    for name in KINDS[:-1]:  # a trace needs other baselines, and all tokens
        plot(made.merge_words() if kind == "merged" else made.hide_special(), name)


@pytest.mark.parametrize("count", [1, 2, 100])
def test_any_number_of_tokens(count: int) -> None:
    made = flow_of([f"w{n}" for n in range(count)], layers=1, heads=2)
    for kind in KINDS[:-1]:
        width, height = plot(made, kind).get_size_inches()
        assert 2.5 <= width <= 12
        assert 2.5 <= height <= 12


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "pie"}, "Unknown kind 'pie'; choose from heat, layers, heads, ladder, overview, trace."),
        ({"scale": "log"}, "Unknown scale 'log'; choose from share, value, absolute."),
        ({"view": "z2v"}, "Unknown view 'z2v'"),
        ({"layer": 9}, "Layer 9 is not in this flow"),
        ({"head": 0}, "head 0 is for view 'z2u', not for 'conserving'."),
        ({"kind": "layers", "layer": 1}, "layer does nothing for kind 'layers', which takes view, scale."),
        ({"kind": "ladder", "scale": "value"}, "scale does nothing for kind 'ladder'"),
        ({"kind": "heads", "view": "z2z"}, "view does nothing for kind 'heads'"),
        ({"view": "z2u", "head": 7}, "There is no head 7"),
        ({"target": 0}, "target does nothing for kind 'heat'"),
        ({"kind": "ladder", "target": 9}, "There is no target 9: there are 4"),
        ({"path": "figure.bmp"}, "Cannot save a figure as 'figure.bmp'; end it in .svg, .pdf, .png."),
        ({"path": "/nowhere/figure.svg"}, "no folder"),
    ],
)
def test_what_is_refused(flow: Flow, options: dict[str, Any], words: str) -> None:
    with pytest.raises(LigflowError, match="^.*" + words.replace(".", r"\.")):
        plot(flow, **options)


def test_routes_that_are_missing_are_named() -> None:
    direct = flow_of(TOKENS, routes=("z2z",))
    with pytest.raises(LigflowError, match="View 'conserving' needs route u2z, z2u"):
        plot(direct, view="conserving")
    with pytest.raises(LigflowError, match="Kind 'heads' needs route z2u"):
        plot(direct, "heads")
