"""Hidden units of MLPs beside their oracle, and the MLPs whose units cannot be told apart."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from ligflow import Explainer
from ligflow.errors import UnsupportedModel
from ligflow.prediction.chain import Accuracy
from ligflow.prediction.hidden_units import HiddenUnits, hidden_units
from ligflow.prediction.unit_groups import UnitGroup
from prediction.chain_of_family import Explained, chained
from prediction.oracle_families import FAMILIES, encoder_starts
from prediction.oracle_units import Given, dense, experts, llama4

_GATED = "model.layers.{}.mlp.down_proj"
LAST = {  # the module that gives what the MLP gives, or that before it
    "gpt2": "transformer.h.{}.mlp.c_proj", "llama": _GATED, "qwen3": _GATED, "gemma3": _GATED,
    "olmo2": _GATED,
    "gpt_neox": "gpt_neox.layers.{}.mlp.dense_4h_to_h", "opt": "model.decoder.layers.{}.fc2",
    "falcon": "transformer.h.{}.mlp.dense_4h_to_h", "bert": "bert.encoder.layer.{}.output.dense",
    "modernbert": "model.layers.{}.mlp.Wo", "t5": "{}.layer.{}.DenseReluDense.wo", "bart": "model.{}.fc2",
    "albert": "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn_output",
    "llama4": "model.layers.{}.feed_forward.down_proj",
}  # fmt: skip
EXPERTS = ("mixtral", "gpt_oss", "deepseek_v3")


def by_hand(name: str, model: Any, result: Any, layer: int) -> Given:
    """The oracle of one layer; of encoder-decoders that of the decoder's."""
    family = replace(FAMILIES[name], starts=encoder_starts) if name in ("t5", "bart") else FAMILIES[name]
    if name in EXPERTS and (name != "deepseek_v3" or layer):
        return experts(family, model, result, f"a{layer}", f"model.layers.{layer}.mlp", name)
    if name == "llama4" and layer:
        return llama4(family, model, result, f"a{layer}", f"model.layers.{layer}.feed_forward")
    if name == "albert":
        return dense(family, model, result, f"a{layer}", LAST[name], call=layer)
    if name == "t5":
        return dense(
            family, model, result, f"decoder a{layer}", LAST[name].format(f"decoder.block.{layer}", 2)
        )
    if name == "bart":
        return dense(family, model, result, f"decoder a{layer}", LAST[name].format(f"decoder.layers.{layer}"))
    return dense(family, model, result, f"a{layer}", LAST.get(name, _GATED).format(layer))


def units_of(explained: Explained, layer: int) -> HiddenUnits:
    return hidden_units(explained.built, explained.result, 0, explained.built.calls[layer])


@pytest.mark.parametrize("name", [*LAST, *EXPERTS])
def test_every_unit_is_the_oracles_and_units_sum_to_their_mlp(name: str) -> None:
    family = replace(FAMILIES[name], starts=encoder_starts) if name in ("t5", "bart") else FAMILIES[name]
    model, held = family.built(), {"experts": True} if name in EXPERTS else {}
    result = family.explained(model, 32)
    explained = chained(family, model, Accuracy(points=31), **held)
    behind = 2 if name in ("t5", "bart") else 0
    for layer in range(2):
        units, (wanted, activations) = (
            units_of(explained, behind + layer),
            by_hand(name, model, result, layer),
        )
        own = slice(-len(wanted), None)
        assert units.relevance.shape[1] == wanted.shape[1]
        assert (units.relevance[own] - wanted).abs().max() < 1e-6 * result.scale
        assert (units.activations[:, own] - activations).abs().max() < 1e-9
        assert not units.relevance[: -len(wanted)].any()
        assert (
            units.relevance.sum(-1) - explained.nodes.mlps[behind + layer]
        ).abs().max() < 1e-9 * result.scale
        assert float(wanted.abs().max()) > 1e-3 * float(wanted.abs().sum())


class Listed(nn.Module):
    """The experts of Mixtral as modules in a list, which take the tokens that chose them."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.gate = nn.Linear(*block.gate.weight.T.shape, bias=False)
        self.gate.weight, self.experts = block.gate.weight, nn.ModuleList()
        for both, down in zip(block.experts.gate_up_proj, block.experts.down_proj, strict=True):
            parts = dict(zip(("w1", "w3"), both.chunk(2), strict=True), w2=down)
            modules = {name: nn.Linear(*weight.T.shape, bias=False) for name, weight in parts.items()}
            for name, weight in parts.items():
                modules[name].weight = nn.Parameter(weight.clone(), requires_grad=False)
            self.experts.append(nn.ModuleDict(modules))

    def forward(self, states: Tensor) -> Tensor:
        rows = states.flatten(0, -2)
        shares, choice = self.gate(rows).softmax(-1).topk(2)
        shares = shares / shares.sum(-1, keepdim=True)
        out = torch.zeros_like(rows)
        for number, expert in enumerate(self.experts):
            at, place = (choice == number).nonzero(as_tuple=True)
            inner = silu(expert["w1"](rows[at])) * expert["w3"](rows[at])
            out.index_add_(0, at, expert["w2"](inner) * shares[at, place, None])
        return out.view_as(states)


def test_experts_in_a_list_have_the_units_of_those_in_one_parameter() -> None:
    family = FAMILIES["mixtral"]
    model = family.built()
    result = family.explained(model, 32)
    wanted = [experts(family, model, result, f"a{n}", f"model.layers.{n}.mlp", "mixtral") for n in range(2)]
    for layer in model.model.layers:
        layer.mlp = Listed(layer.mlp)
    explained = chained(family, model, Accuracy(points=31), experts=True)
    for layer in range(2):
        units, (relevance, activations) = units_of(explained, layer), wanted[layer]
        assert units.groups == tuple(UnitGroup(f"expert {number}", 20) for number in range(4))
        assert (units.relevance - relevance).abs().max() < 1e-6 * result.scale
        assert (units.activations - activations).abs().max() < 1e-9
        assert float(relevance.abs().max()) > 1e-3 * float(relevance.abs().sum())


def test_experts_that_are_chosen_anew_have_the_gates_and_units_of_both_runs() -> None:
    """Routed: a token's experts differ between the runs; what is not chosen is 0, and sums hold."""
    family = FAMILIES["gpt_oss"]
    explained = chained(family, family.built(), Accuracy(points=15))
    units = units_of(explained, 1)
    assert units.groups[:1] == (UnitGroup("expert 0", 20),)
    assert units.groups[4:] == tuple(UnitGroup(f"expert {number}, output bias", 1) for number in range(4))
    gates = units.activations[:, :, 80:]
    assert torch.equal((gates != 0).sum(-1), torch.full((2, 7), 2))
    assert torch.allclose(gates.sum(-1), torch.ones(2, 7, dtype=torch.float64))
    assert bool(((gates[0] != 0) != (gates[1] != 0)).any())
    by_expert = units.activations[:, :, :80].unflatten(-1, (4, 20)).abs().sum(-1)
    assert torch.equal(by_expert != 0, gates != 0)
    assert (units.relevance.sum(-1) - explained.nodes.mlps[1]).abs().max() < 1e-12
    assert bool(units.relevance[:, 80:].any())


def test_units_stand_at_the_tokens_of_the_encoder_too() -> None:
    family = FAMILIES["t5"]
    explained = chained(family, family.built(), Accuracy(points=3))
    units = units_of(explained, 0)
    assert units.relevance.shape == (12, 20)
    assert not units.relevance[7:].any()
    assert (units.relevance.sum(-1) - explained.nodes.mlps[0]).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("name", "reason"), [("deberta", "mask or position bias"), ("zamba2", "no attention")]
)
def test_a_layer_without_an_mlp_of_its_own_is_refused_with_what_it_has(name: str, reason: str) -> None:
    family = FAMILIES[name]
    explained = chained(family, family.built(), Accuracy(points=1))
    with pytest.raises(UnsupportedModel, match=rf"Layer 0 .*told apart: .*{reason}.*in by_depth"):
        units_of(explained, 0)


def test_an_mlp_whose_sum_is_not_that_of_its_products_is_refused() -> None:
    """Something that is no module, and not linear, behind the last projection."""
    family = FAMILIES["gpt2"]
    model = family.built()
    mlp = model.transformer.h[1].mlp
    mlp.forward = lambda x: mlp.c_proj(mlp.act(mlp.c_fc(x))).tanh()
    explained = chained(family, model, Accuracy(points=3))
    with pytest.raises(
        UnsupportedModel, match=r"last projections \(mlp.c_proj.weight\) give sums to another"
    ):
        units_of(explained, 1)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["embedded:smollm2", "embedded:gemma-3-270m"])
def test_units_of_real_weights_sum_to_their_mlps_in_float32(model: str, no_shape_checks: None) -> None:
    """In every layer, token by token, to 1e-4 of all that speaks for and against the answer."""
    p = Explainer.from_pretrained(model).explain_prediction(
        "The capital of France is", neurons="all", edges=()
    )
    assert sorted(p.mlps) == sorted(p.stored_neurons) == list(range(len(p.layer_names)))
    off = {
        layer: float((each.sum(-1) - p.mlps[layer]).abs().sum()) for layer, each in p.stored_neurons.items()
    }
    assert max(off.values()) < 1e-4 * p.scale
    assert min(float(each.abs().sum()) for each in p.stored_neurons.values()) > 0.1 * p.scale
