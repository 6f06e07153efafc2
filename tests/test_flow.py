"""The verbs of a flow: new flows of its class, the same numbers in tables, files, pages and figures."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ligflow import Flow
from ligflow.results import FlowData
from ligflow.results.grouping import hide_special, merge_words
from ligflow.results.join import join
from ligflow.results.joint_sources import over_both

WORDS = {"words": [0, 1, 1, 2, 3], "word_labels": list("abcd"), "word_places": [-1, 0, 1, -1]}


class Mine(Flow):
    """A flow with verbs of its own."""


@pytest.fixture(scope="module")
def flow() -> Flow:
    """Two layers, two heads and five tokens: [CLS], a word of two, a word and [SEP]."""
    saved = Flow.load(Path(__file__).parent / "results" / "flow_of_format_1.safetensors")
    return replace(saved, special=(True, False, False, False, True), meta={**saved.meta, **WORDS})


NEW: dict[str, Callable[[Flow, Path], Flow]] = {
    "load": lambda flow, path: type(flow).load(flow.save(path)),
    "over_both": lambda flow, _: flow.over_both(),
    "merge_words": lambda flow, _: flow.merge_words(),
    "hide_special": lambda flow, _: flow.hide_special(),
    "join": lambda flow, _: join([flow]),
}


@pytest.mark.parametrize("verb", NEW)
@pytest.mark.parametrize("kind", [Flow, Mine])
def test_a_new_flow_is_of_the_class_of_the_old_one(
    flow: Flow, verb: str, kind: type[Flow], tmp_path: Path
) -> None:
    other = NEW[verb](kind(**vars(flow)), tmp_path / "flow.safetensors")
    assert type(other) is kind
    assert repr(other).startswith(f"{kind.__name__}(")


def test_verbs_that_regroup_are_the_functions_of_data(flow: Flow) -> None:
    data = FlowData(**vars(flow))
    for mine, known in (
        (flow.merge_words(), merge_words(data)),
        (flow.hide_special(), hide_special(data)),
        (flow.over_both(), over_both(data)),
    ):
        assert type(known) is FlowData
        assert (mine.tokens, mine.targets, mine.meta) == (known.tokens, known.targets, known.meta)
        assert mine.tensors.keys() == known.tensors.keys()
        assert all(mine.tensors[name].equal(tensor) for name, tensor in known.tensors.items())
    assert flow.merge_words().tokens == list("abcd")
    torch.testing.assert_close(flow.merge_words().z2z[0, 1, 1], flow.z2z[0, 1:3, 1:3].sum(-1).mean())


def test_a_table_an_array_and_a_graph_hold_the_numbers_of_the_maps(flow: Flow) -> None:
    frame = flow.to_pandas()
    cell = frame[(frame.route == "z2u") & (frame.layer == 1) & (frame["head"] == 0)]
    np.testing.assert_array_equal(cell.value.to_numpy().reshape(5, 5), flow.z2u[1, 0].numpy())
    np.testing.assert_array_equal(flow.to_xarray()["z2z"].to_numpy(), flow.z2z.numpy())
    graph = flow.to_networkx(1)
    assert graph.edges[("z", 2), ("u", 1, 3)]["weight"] == float(flow.z2u[1, 1, 3, 2])


def test_a_page_holds_its_flows_by_name(flow: Flow, tmp_path: Path) -> None:
    html = flow.to_html(tmp_path / "flow.html", flow.hide_special(), view="map=z2z").read_text()
    assert [json.dumps(f"flow {n}") for n in (1, 2)] == [
        line.split('data-name="')[1].split('">')[0].replace("&quot;", '"')
        for line in html.splitlines()
        if 'data-name="' in line
    ]
    assert '<body data-view="map=z2z">' in html


def test_a_figure_shows_the_map(flow: Flow) -> None:
    axes = flow.plot("heat", view="z2z", layer=1, scale="value").axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), flow.z2z[1].numpy())


def test_a_notebook_shows_a_table(flow: Flow) -> None:
    assert flow._repr_html_().startswith('<div class="ligflow-static">')
