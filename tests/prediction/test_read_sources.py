"""Sources with which a segment does not compute are left out, whatever their numbers are."""

import torch

from ligflow.prediction.graph import graph_of
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.read_sources import with_read_sources
from ligflow.prediction.segment import Segment
from prediction.chain_of_family import runs_of_family
from prediction.oracle_families import FAMILIES


def _variable(*values: float) -> Variable:
    real = torch.tensor(values, dtype=torch.float64)
    return Variable(real, torch.zeros_like(real))


def test_a_source_is_left_out_if_no_image_leads_back_to_it() -> None:
    variables = {"a": _variable(1.0, 2.0), "b": _variable(3.0, 4.0), "c": _variable(0.0, 0.0)}
    segment = Segment(
        "some", None, "some", ("a", "b", "c"), ("x", "y"), lambda of: {"x": of["a"] * of["c"], "y": of["c"]}
    )
    read = with_read_sources(segment, ("a", "b", "c"), variables)
    assert read.sources == ("a", "c")  # a, though c makes it 0 here
    assert with_read_sources(segment, ("c",), variables).sources == ("a", "b", "c")  # b is needed to run it


def test_shared_keys_are_sources_of_the_attention_that_reads_them_alone() -> None:
    family = FAMILIES["gemma4"]
    segments = graph_of(runs_of_family(family, family.built())).graph.segments
    reading = {s.name for s in segments if any("shared_kv_states" in name for name in s.sources)}
    assert reading == {"layer 2, attention", "layer 3, attention"}
    keys = [name for s in segments if s.name == "layer 3, attention" for name in s.sources if "kv" in name]
    assert keys == [f"shared_kv_states.full_attention.{n} of layer 1" for n in (0, 1)]
    assert sum("per_layer_input" in name for s in segments for name in s.sources) == 4  # MLPs alone
