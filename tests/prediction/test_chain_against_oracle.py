"""The chain beside its oracle, on every family of the table: every token, head and MLP at every cut."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ligflow.prediction.chain import Accuracy
from prediction.chain_of_family import Explained, chained
from prediction.oracle import OracleResult
from prediction.oracle_families import FAMILIES, Family, encoder_starts

CUTS = {"gpt2 undivided": "model"}
COARSE = ("deberta", "falcon_h1", "zamba2")  # by layer
EXPERTS = ("mixtral", "gpt_oss", "deepseek_v3")  # held


def cut_of(name: str) -> str:
    return "layer" if name in COARSE or name.endswith("by layer") else CUTS.get(name, "modules")


def family_of(name: str) -> Family:
    """A decoder's tokens are the answer's own, and kept."""
    family = FAMILIES[name]
    return replace(family, starts=encoder_starts) if name in ("t5", "bart") else family


def mlps(result: OracleResult) -> dict[int, Tensor]:
    """Those of the oracle; where no variable is an MLP's alone, what is added to x: `m_z' (Δz' - Δx)`."""
    if result.mlps or "x0" not in result.directions:
        return result.mlps
    changes, after = result.changes, {layer: f"z{layer + 1}" for layer in result.heads}
    return {
        layer: (result.directions[z] * (changes[z] - changes[f"x{layer}"])).sum(-1)
        for layer, z in after.items()
    }


def gap(first: dict[int, Tensor], second: dict[int, Tensor]) -> float:
    """The largest difference between nodes of the same layers."""
    assert first.keys() == second.keys()
    return max((float((first[layer] - second[layer]).abs().max()) for layer in first), default=0.0)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_number_is_the_oracles(name: str) -> None:
    """With pinned points to 1e-6, with the usual ones to the tolerance, and what is kept to the last bit."""
    family = family_of(name)
    model, cut, held = family.built(), cut_of(name), {"experts": True} if name in EXPERTS else {}
    result, exact = family.explained(model, 32), chained(family, model, Accuracy(points=31), cut, **held)
    assert_same(exact, result)
    usual = chained(family, model, Accuracy(tol=1e-3), cut, **held)
    error = float((usual.by_depth[0] - result.relevance).abs().sum())
    assert error < min(1e-3 * result.scale, 10 * float(usual.error.sum()) + 1e-12)
    assert torch.equal(usual.by_depth[0] == 0, result.relevance == 0)


@pytest.mark.parametrize(
    "name", ["gpt2", "gpt2 by layer", "gpt2 undivided", "llama", "bert", "gpt_neox", "gemma4"]
)
def test_held_attention_is_that_of_the_input_in_both_runs(name: str) -> None:
    family = FAMILIES[name]
    model, cut = family.built(), cut_of(name)
    moved, result = family.explained(model, 3), family.explained(model, 32, "held")
    assert abs(result.reference_value - moved.reference_value) > 1e-3
    assert_same(chained(family, model, Accuracy(points=31), cut, attention=True), result)


def assert_same(exact: Explained, result: OracleResult) -> None:
    assert exact.change == pytest.approx(result.change, abs=1e-12)
    cuts = [result.cuts.index(cut) for cut in exact.cuts]
    assert (exact.by_depth - result.by_depth[cuts]).abs().max() < 1e-6 * result.scale
    nodes = exact.nodes
    pairs = [
        (nodes.heads, result.heads), (nodes.cross_heads, result.cross_heads), (nodes.mlps, mlps(result)),
        (nodes.residual, result.past_attention),
    ]  # fmt: skip
    assert max(gap(own, other) for own, other in pairs) < 1e-6 * result.scale
