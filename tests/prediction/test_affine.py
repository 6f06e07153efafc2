"""Which segments are affine, by their slopes at random points, and what one point of others misses."""

from dataclasses import replace

import torch
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM

from ligflow.prediction.affine import is_affine
from ligflow.prediction.attention_switch import AttentionSwitch
from ligflow.prediction.graph import graph_of
from ligflow.prediction.path_average import average
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.segment import Segment
from prediction.tiny import SIZES, gpt2, ids, llama, runs_of, strong


def gemma2():
    torch.manual_seed(0)
    config = Gemma2Config(
        **SIZES, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, head_dim=4, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return strong(Gemma2ForCausalLM(config))


def outputs_of_attention(model) -> list[bool]:
    runs, _ = runs_of(model, ids())
    graph = graph_of(runs).graph
    with AttentionSwitch(runs.model) as attention:
        attention.to(graph.segments[1].implementation)
        return [
            is_affine(segment, {name: graph.variables[name] for name in segment.sources})
            for segment in graph.segments
            if segment.kind == "attention's output"
        ]


def test_what_is_added_as_it_is_is_affine_and_what_is_normalised_before_is_not() -> None:
    assert outputs_of_attention(llama()) == [True, True]
    assert outputs_of_attention(gpt2()) == [True, True]
    assert outputs_of_attention(gemma2()) == [False]


def test_a_sum_that_comes_out_at_one_point_by_chance_is_not_enough() -> None:
    def run(values):
        return {"y": (values["x"][..., :1] ** 3 - values["x"][..., 1:] ** 3).clone()}

    real, reference = torch.full((1, 2), 0.9).double(), torch.full((1, 2), 0.2).double()
    segment = Segment("f", 0, "f", ("x",), ("y",), run, True, 0, module=nn.Identity())
    variables = {"x": Variable(real, reference), "y": Variable(torch.zeros(1, 1), torch.zeros(1, 1))}
    above, allowance = {"y": torch.ones(1, 1, 1).double()}, torch.tensor([1e-3]).double()
    result = average(segment, variables, above, {}, allowance)
    slope = (0.9**3 - 0.2**3) / 0.7
    torch.testing.assert_close(result.cotangents["x"][0, 0], torch.tensor([slope, -slope]).double())
    affine = replace(segment, run=lambda values: {"y": 3 * values["x"][..., :1]}, module=nn.Identity())
    assert average(affine, variables, above, {}, torch.tensor([10.0]).double()).points.tolist() == [1]
    loose = replace(segment, module=None)  # of no layer, nothing is remembered
    assert average(loose, variables, above, {}, allowance).points.tolist() == [3]
