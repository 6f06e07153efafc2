"""What attention functions are given on the path, beside captures of the layer and differences."""

from dataclasses import replace

import torch

from ligflow.layer.model_state import prepared
from ligflow.prediction.chain import Accuracy
from ligflow.prediction.given_attention import attention_segment, given, given_on_path
from prediction.chain_of_family import chained as chained_family
from prediction.oracle_families import FAMILIES, encoder_starts
from prediction.tiny import chained, ids, llama


def test_a_layers_own_attention_is_given_what_the_layer_projects() -> None:
    built, _ = chained(llama(), ids(), 1)
    call, variables = built.calls[1], built.graph.variables
    hidden = variables[call.hidden]
    with prepared(call.layer.module, call.layer.implementation), torch.no_grad():
        own = call.layer.capture(hidden.real[None])
        caught = given(call, "u1", {call.hidden: hidden.real[None]})
    for name in ("query", "key", "value"):
        assert torch.equal(getattr(own, name), getattr(caught, name))


def test_derivatives_of_a_second_attention_are_those_of_queries_and_of_the_memory() -> None:
    family = replace(FAMILIES["t5"], starts=encoder_starts)
    chain = chained_family(family, family.built(), Accuracy(points=1))
    call, variables = chain.built.calls[3], chain.built.graph.variables
    assert attention_segment(call, "c3").sources == ("y3", call.memory)
    width = 1e-4
    with prepared(call.layer.module, call.layer.implementation), torch.no_grad():
        path = given_on_path(call, "c3", variables, torch.tensor(0.4, dtype=torch.float64))
        nodes = torch.tensor([0.4 - width, 0.4 + width], dtype=torch.float64)
        ends = given(call, "c3", {name: variables[name].at(nodes) for name in ("y3", call.memory)})
    for name in ("query", "key", "value"):
        low, high = getattr(ends, name)
        slope = getattr(path, f"{name}_step")[0]
        assert slope.abs().max() > 1e-3
        assert torch.allclose(slope, (high - low) / (2 * width), atol=1e-6)
