"""The segments of a model between two runs: what each takes, and that it gives what was recorded."""

import pytest
import torch

from ligflow.prediction.attention_switch import AttentionSwitch
from ligflow.prediction.graph import graph_of
from prediction.tiny import gpt2, ids, llama, runs_of


@pytest.mark.parametrize("cut", ["modules", "layer", "model"])
@pytest.mark.parametrize("make", [gpt2, llama])
def test_every_segment_gives_the_states_of_both_runs(make, cut: str) -> None:
    runs, _ = runs_of(make(), ids())
    built = graph_of(runs, cut)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    with AttentionSwitch(runs.model) as attention:
        for segment in built.graph.segments:
            attention.to(segment.implementation)
            variables = built.graph.variables
            with torch.no_grad():
                images = segment.run({name: variables[name].at(ends) for name in segment.sources})
            for name in segment.images:
                wanted = torch.stack([variables[name].reference, variables[name].real])
                torch.testing.assert_close(images[name].reshape(wanted.shape), wanted, atol=1e-9, rtol=1e-9)


def test_segments_stand_in_the_order_of_the_model_with_a_cut_before_each_layer() -> None:
    runs, _ = runs_of(gpt2(), ids())
    layers, whole = graph_of(runs, "layer").graph, graph_of(runs, "model").graph
    assert [segment.name for segment in whole.segments] == ["the head"]
    assert whole.segments[0].sources == ("embeddings",)
    assert [segment.kind for segment in layers.segments] == ["between", "layer", "layer", "between"]
    assert layers.cuts == [("embeddings", 0), ("layer 0", 1), ("layer 1", 2), ("head", 3)]
    scores = layers.variables["score"]
    torch.testing.assert_close(scores.real, runs_score(runs))


def runs_score(runs) -> torch.Tensor:
    with torch.no_grad():
        return runs.model(input_ids=ids()).logits.log_softmax(-1)[0, -1, 7:8]
