"""What stands at places of a model, with the cotangent of the score there."""

import pytest
import torch

from ligflow.layer.float64 import keep_double
from ligflow.prediction.chain import Accuracy
from ligflow.prediction.read_out import Places, mlp_branch
from prediction.chain_of_family import chained
from prediction.oracle_families import FAMILIES

OUTPUTS = {  # of the modules that give the MLP's branch
    "llama": "model.layers.1.mlp", "gemma3": "model.layers.1.mlp", "gpt_neox": "gpt_neox.layers.1.mlp",
    "bert": "bert.encoder.layer.1.output.dense",
}  # fmt: skip


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_branch_is_what_its_module_gives_in_both_runs_and_sums_to_its_node(name: str) -> None:
    family = FAMILIES[name]
    model = family.built()
    explained = chained(family, model, Accuracy(points=15))
    places = Places(explained.built.graph, explained.result, 0)
    branch = mlp_branch(places, explained.built.calls[1])
    assert branch is not None
    given: list[torch.Tensor] = []
    module = model.get_submodule(OUTPUTS[name])
    handle = module.register_forward_hook(lambda _module, _args, output: given.append(output[0]))
    with keep_double(), torch.no_grad():
        model(**family.inputs())
    handle.remove()
    shift = branch.real - given[0]  # biases of the layer's attention
    assert (shift - shift[0]).abs().max() < 1e-12
    assert float(branch.step.abs().max()) > 1e-3
    assert torch.equal(branch.by_token(), explained.nodes.mlps[1])


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox"])
def test_hidden_states_sum_to_the_change_at_every_layer(name: str) -> None:
    family = FAMILIES[name]
    explained = chained(family, family.built(), Accuracy(points=31))
    places = Places(explained.built.graph, explained.result, 0)
    for call in explained.built.calls:
        for hidden in (call.hidden, call.output):
            states = places.variable(hidden)
            assert states is not None
            assert float(states.by_token().sum()) == pytest.approx(explained.change, rel=1e-6)


def test_the_input_has_the_cotangent_of_all_that_takes_it() -> None:
    family = FAMILIES["gpt_neox"]
    explained = chained(family, family.built(), Accuracy(points=31))
    places = Places(explained.built.graph, explained.result, 0)
    states = places.variable("embeddings")
    assert states is not None
    assert torch.allclose(states.by_token(), explained.by_depth[0], atol=1e-12)
