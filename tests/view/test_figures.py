"""Figures: the numbers in them, orientation, hatching, scales, files, and what is refused."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from browser import flow_of, still_head
from ligflow import Flow, LigflowError
from ligflow.results.tracing import BASELINES, trace
from ligflow.view.canvas import SCALES
from ligflow.view.figures import KINDS, plot
from ligflow.view.highlights import highlights
from ligflow.view.ladder import links
from ligflow.view.select import by_head, row_shares

TOKENS = ["[CLS]", "the", "$x$ <b>", "keeper"]


@pytest.fixture
def flow() -> Flow:
    made = flow_of(TOKENS, layers=3)
    z2z = made.z2z.clone()
    z2z[1] = 0.01
    z2z[1, 2, 0] = 9
    return replace(made, tensors={**made.tensors, "z2z": z2z})


def drawn(figure: Any, place: int = 0) -> np.ndarray:
    return np.asarray(figure.axes[place].images[0].get_array())


@pytest.mark.parametrize("kind", ["heat", "trace"])
def test_figures_tell_tokens_apart_by_their_blanks(kind: str) -> None:
    flow = flow_of(["cat", " cat", " sat", " sat"], layers=2, settings=BASELINES["mean"])
    axes = plot(flow, kind).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["cat", "␣cat", "sat", "sat"]


def test_a_heat_map_is_the_map_with_targets_as_rows(flow: Flow) -> None:
    figure = plot(flow, view="z2z", layer=1)
    np.testing.assert_allclose(drawn(figure), row_shares(flow.z2z[1]))
    assert np.unravel_index(drawn(figure).argmax(), (4, 4)) == (2, 0)
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("source (column)", "target (row)")
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == [tick.get_text() for tick in axes.get_xticklabels()] == TOKENS
    assert axes.yaxis_inverted()
    assert not any(tick.get_parse_math() for tick in axes.get_yticklabels())


@pytest.mark.parametrize(
    ("view", "head", "known"),
    [
        ("conserving", None, lambda f: f.composed()[2]),
        ("product", None, lambda f: f.composed("product")[2]),
        ("z2u", None, lambda f: f.z2u[2].sum(0)),
        ("z2u", 1, lambda f: f.z2u[2, 1]),
        ("u2z", None, lambda f: torch.cat([f.u2z[2], f.u2z_residual[2][None]]).T),
    ],
)
def test_every_view(flow: Flow, view: str, head: int | None, known: Any) -> None:
    figure = plot(flow, view=view, head=head, scale="value")
    np.testing.assert_allclose(drawn(figure), known(flow), rtol=1e-5)
    assert figure.axes[0].get_xlabel() == ("head (column)" if view == "u2z" else "source (column)")


@pytest.mark.parametrize("scale", list(SCALES))
def test_scales_say_what_they_are(flow: Flow, scale: str) -> None:
    figure = plot(flow, view="z2z", scale=scale)
    image, bar = figure.axes[0].images[0], figure.axes[1]
    assert bar.get_ylabel() == SCALES[scale]
    low, high = image.get_clim()
    assert low == (0 if scale == "absolute" else -high)
    assert high == pytest.approx(np.abs(drawn(figure)).max())
    if scale == "absolute":
        np.testing.assert_allclose(drawn(figure), flow.z2z[2].abs())


def test_rows_that_miss_the_tolerance_are_hatched(flow: Flow) -> None:
    met = flow.tensors["z2u.met"].clone()
    met[2, 1, 3] = False
    bad = replace(flow, tensors={**flow.tensors, "z2u.met": met})
    count = {
        (view, head): len(plot(bad, view=view, head=head).axes[0].patches)
        for view, head in (("z2z", None), ("conserving", None), ("z2u", None), ("z2u", 1), ("z2u", 2))
    }
    assert count == {
        ("z2z", None): 0, ("conserving", None): 1, ("z2u", None): 1, ("z2u", 1): 1, ("z2u", 2): 0
    }  # fmt: skip
    (patch,) = plot(bad, view="z2u", head=1).axes[0].patches
    assert (patch.get_y(), patch.get_height(), patch.get_hatch()) == (2.5, 1, "////")
    assert not plot(bad, view="z2u", layer=1).axes[0].patches


@pytest.mark.parametrize("kind", ["layers", "heads"])
def test_small_maps_share_one_scale(flow: Flow, kind: str) -> None:
    figure = plot(flow, kind, scale="value", **({"view": "z2z"} if kind == "layers" else {}))
    images = [image for axes in figure.axes[:3] for image in axes.images]
    known = flow.z2z if kind == "layers" else flow.z2u[2]
    for image, values in zip(images, known, strict=True):
        np.testing.assert_allclose(image.get_array(), values)
    assert {image.get_clim() for image in images} == {(-float(known.abs().max()), float(known.abs().max()))}
    assert [axes.get_title() for axes in figure.axes[:3]] == [f"{kind[:-1]} {n}" for n in range(3)]


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


def test_the_sum_of_the_heads_is_named(flow: Flow) -> None:
    title = plot(flow, "layers", view="z2u").get_suptitle()
    assert title == "What the heads read, summed; rows are targets, columns are sources"


@pytest.mark.parametrize("kind", ["heat", "ladder"])
@pytest.mark.parametrize("tokens", [["a", "b"], ["internationalisation", "b"], ["x" * 200, "b"]])
def test_every_text_is_inside_the_figure(kind: str, tokens: list[str]) -> None:
    for scale in [None] if kind == "ladder" else list(SCALES):
        canvas = FigureCanvasAgg(plot(flow_of(tokens), kind, scale=scale))
        canvas.draw()
        figure, drawer = canvas.figure, canvas.get_renderer()
        for axes in figure.axes:
            box = axes.get_tightbbox(drawer)
            assert min(box.x0, box.y0) >= -1
            assert (box.x1 <= figure.bbox.x1 + 1, box.y1 <= figure.bbox.y1 + 1) == (True, True)


def test_labels_of_many_tokens_are_thinned_evenly() -> None:
    axes = plot(flow_of([f"w{n}" for n in range(100)], layers=1, heads=2)).axes[0]
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == [f"w{n}" for n in range(0, 100, 2)]


@pytest.mark.parametrize("kind", ["layers", "heads"])
def test_small_maps_of_few_tokens_have_labels_at_the_edges(flow: Flow, kind: str) -> None:
    first, second = plot(flow, kind).axes[:2]
    assert [tick.get_text() for tick in first.get_yticklabels()] == TOKENS
    assert [tick.get_text() for tick in second.get_xticklabels()] == TOKENS
    assert second.get_yticklabels() == []
    many = plot(flow_of([f"w{n}" for n in range(21)]), kind).axes[0]
    assert many.get_yticklabels() == many.get_xticklabels() == []


def test_cells_are_square(flow: Flow) -> None:
    for kind in ("heat", "layers", "heads", "overview"):
        assert plot(flow, kind).axes[0].get_aspect() == 1


def test_shares_are_told_in_per_cent(flow: Flow) -> None:
    bar = plot(flow).axes[1]
    assert bar.yaxis.get_major_formatter()(0.25) == "25"
    assert bar.get_ylabel() == "% of what moved the token"


def test_labels_are_without_the_blanks_around_them() -> None:
    axes = plot(flow_of([" a", "b ", " ", "c"])).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b", "␣", "c"]


def test_an_overview_has_the_maps_of_the_layer_that_tells_without_what_stands_aside(flow: Flow) -> None:
    marked = replace(flow, special=(True, False, False, False))
    figure = plot(marked, "overview")
    found = highlights(marked)
    row = flow.row(found.layer)
    known = [flow.z2z[row][:, 1:], flow.composed()[row][:, 1:]]
    for axes, values in zip(figure.axes[:2], known, strict=True):
        np.testing.assert_allclose(axes.images[0].get_array(), row_shares(values), rtol=1e-5, atol=1e-7)
    assert figure.axes[2].images[0].get_array().shape == (4, flow.heads + 1)
    assert [axes.get_title() for axes in figure.axes[:3]] == [
        "token to token", "token to token, through the heads", "which heads write",
    ]  # fmt: skip
    assert figure.get_suptitle() == f"Who moves whom in layer {found.layer}; hidden: 1 special token"
    assert plot(flow, "overview", layer=0).get_suptitle().startswith("Who moves whom in layer 0")


@pytest.mark.parametrize("view", [None, "z2z"])
def test_a_trace_shows_relevance_at_every_depth(view: str | None) -> None:
    made = flow_of(TOKENS, settings=dict(BASELINES["mean"]))
    figure = plot(made, "trace", target=2, layer=1, view=view)
    found = trace(made, 2, 1, "composed" if view is None else "z2z")
    np.testing.assert_allclose(drawn(figure), found.relevance, rtol=1e-5, atol=1e-7)
    rows = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert rows == ["after layer 1", "after layer 0", "input"]
    assert figure.get_suptitle() == f"‘{TOKENS[2]}’ from layer 1 down to the input"
    with pytest.raises(LigflowError, match="cannot be chained"):
        plot(flow_of(TOKENS), "trace", target=2)


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


@pytest.mark.parametrize(("kind", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_figures_are_saved(flow: Flow, tmp_path: Path, kind: str, start: bytes) -> None:
    flow.plot("ladder", path=tmp_path / f"figure.{kind}")
    first = (tmp_path / f"figure.{kind}").read_bytes()
    assert first.startswith(start)
    flow.plot("ladder", path=tmp_path / f"figure.{kind}")
    assert (tmp_path / f"figure.{kind}").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [f"figure.{kind}"]


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


def test_matplotlib_that_is_missing_is_named(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(LigflowError, match=r"pip install 'ligflow\[figures\]'"):
        plot(flow)
