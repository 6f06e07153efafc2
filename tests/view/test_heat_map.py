"""Heat maps: the numbers in them, orientation, hatching, scales."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from browser import flow_of
from figure_flows import TOKENS, drawn, one_large_cell
from ligflow import Flow, LigflowError
from ligflow.results.tracing import BASELINES, trace
from ligflow.view.figures import plot
from ligflow.view.highlights import highlights
from ligflow.view.select import row_shares


@pytest.fixture
def flow() -> Flow:
    return one_large_cell()


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


def test_the_sum_of_the_heads_is_named(flow: Flow) -> None:
    title = plot(flow, "layers", view="z2u").get_suptitle()
    assert title == "What the heads read, summed; rows are targets, columns are sources"


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
