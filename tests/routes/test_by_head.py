"""z2z by head, through the MLP and beside it, against plain autograd through the unmodified layer."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, DISENTANGLED, WHOLE_ONLY, Architecture, build, example, shared
from encoder_decoders import explainer_of, inputs_of
from ligflow import Explainer, LigflowError, UnsupportedModel
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.method.integral import Integral, Integrand
from ligflow.method.quadrature_rules import fixed_rule
from ligflow.routes.by_head import HeadAxes, head_parts
from ligflow.settings import ask
from split_brute import MLPS, Split, split_by_brute_force

TOKENS, RULE = 5, "gauss-legendre:4"
PARTS = ("z2z_heads", "z2z_mlp", "z2z_residual", "z2z_residual_mlp")
ROTATION = list(product(("itb", "mean", "zero"), ("l2", "projection")))
CASES = [
    (name, *ROTATION[number % len(ROTATION)]) for number, name in enumerate(sorted({*MLPS} - {"t5", "bart"}))
]
CASES += [(name, *case) for name in ("bert", "llama") for case in ROTATION if (name, *case) not in CASES]


def _starts(layer: Layer, baseline: str) -> list[Tensor]:
    z = layer.hidden
    every = {"itb": z, "zero": torch.zeros_like(z), "mean": z.mean(0).expand_as(z)}[baseline]
    return [every[j].expand_as(z) if baseline == "itb" else every for j in range(len(z))]


def _close(tensors: Mapping[str, Tensor], whole: Split, beside: Split) -> None:
    """Every part of the one layer is that of the brute force."""
    pairs = {"z2z_residual": whole.residual, "z2z_residual_mlp": whole.residual - beside.residual}
    for place, cross in enumerate(("", "cross_")[: len(whole.heads)]):
        heads = whole.heads[place].transpose(0, 1)
        pairs[f"z2z_{cross}heads"] = heads
        pairs[f"z2z_{cross}mlp"] = heads - beside.heads[place].transpose(0, 1)
    for name, expected in pairs.items():
        torch.testing.assert_close(tensors[name][0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")
@pytest.mark.parametrize(("name", "baseline", "kind"), CASES)
def test_parts_are_those_of_the_unmodified_layer(name: str, baseline: str, kind: str) -> None:
    explainer = shared(ARCHITECTURES[name], torch.float64)
    inputs = example(ARCHITECTURES[name], TOKENS, dtype=torch.float64)
    flow = explainer.explain(
        inputs, "z2z", layers=1, layer_baseline=baseline, scalarization=kind, quadrature=RULE, split=True
    )
    layer = explainer.prepared.record(inputs)[1]
    with prepared(layer.module, layer.implementation):
        brute = [
            split_by_brute_force(layer, _starts(layer, baseline), fixed_rule(RULE), kind, held)
            for held in ("", MLPS[name])
        ]
    _close(flow.tensors, *brute)
    total = flow.tensors["z2z_heads"].sum(1) + torch.diag_embed(flow.tensors["z2z_residual"])
    torch.testing.assert_close(total, flow.z2z, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_decoder_has_parts_of_both_attentions(name: str) -> None:
    explainer, inputs = explainer_of(name, torch.float64), inputs_of(name, TOKENS, 0, torch.float64)
    flow = explainer.explain(
        inputs, "z2z", layers=0, layer_baseline="mean", encoder_baseline="zero", quadrature=RULE, tol=0.5,
        split=True,
    )  # fmt: skip
    layer = explainer.prepared.record(inputs)[0]
    with prepared(layer.module, layer.implementation):
        brute = [
            split_by_brute_force(
                layer, _starts(layer, "mean"), fixed_rule(RULE), "l2", held, torch.zeros_like(layer.encoded)
            )
            for held in ("", MLPS[name])
        ]
    _close(flow.tensors, *brute)
    torch.testing.assert_close(flow.tensors["z2z_cross_heads"].sum(1), flow.z2z_cross, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["bert", "llama", "gpt_neox", "mixtral"])
def test_parts_take_the_nodes_of_the_whole_and_their_error_is_estimated(name: str) -> None:
    architecture = ARCHITECTURES[name]
    explainer, inputs = shared(architecture, torch.float64), example(architecture, 7)
    experts = "frozen" if architecture.experts else "routed"
    options: dict[str, Any] = {"routes": "z2z", "layer_baseline": "mean", "experts": experts}
    alone, split = explainer.explain(inputs, **options), explainer.explain(inputs, **options, split=True)
    fine = explainer.explain(inputs, **options, split=True, quadrature="fine", tol=1e-6)
    assert torch.equal(alone.nodes("z2z"), split.nodes("z2z"))
    torch.testing.assert_close(alone.z2z, split.z2z, rtol=1e-10, atol=1e-12)
    ways = [(_way(split.tensors, through) - _way(fine.tensors, through)).abs() for through in (True, False)]
    off = torch.stack(ways).sum((0, 2, 4))
    assert (off <= split.tensors["z2z_heads.error"] + 1e-9).all()
    assert (split.tensors["z2z_heads.error"] < 3e-2 * split.total("z2z")).all()


def _way(tensors: Mapping[str, Tensor], through: bool) -> Tensor:
    """The heads' parts and what passes attention, through the MLP or beside it."""
    heads, residual = tensors["z2z_mlp"], tensors["z2z_residual_mlp"]
    if not through:
        heads, residual = tensors["z2z_heads"] - heads, tensors["z2z_residual"] - residual
    return torch.cat([heads, torch.diag_embed(residual)[:, None]], dim=1)


def test_heads_of_a_parallel_layer_pass_no_mlp() -> None:
    explainer = Explainer(build(ARCHITECTURES["gpt_neox"]))
    flow = explainer.explain(example(ARCHITECTURES["gpt_neox"], 5), "z2z", layer_baseline="zero", split=True)
    assert flow.tensors["z2z_mlp"].abs().max() == 0
    assert flow.tensors["z2z_residual_mlp"].abs().min() > 0


@pytest.mark.parametrize("name", ["bert", "gemma3_text"])
def test_neither_batch_nor_budget_changes_a_part(name: str) -> None:
    architecture = ARCHITECTURES[name]
    explainer = shared(architecture, torch.float64)
    inputs = [example(architecture, tokens) for tokens in (5, 7)]
    options: dict[str, Any] = {"routes": "z2z", "layer_baseline": "mean", "split": True}
    alone = [explainer.explain(each, **options) for each in inputs]
    together = explainer.explain_many(inputs, batch_size=2, **options)
    small = [explainer.explain(each, **options, memory_budget=2_000_000) for each in inputs]
    padded = explainer.explain(example(architecture, 5, padding=2), **options)
    for one, *others in [*zip(alone, together, small, strict=True), (alone[0], padded)]:
        for other in others:
            for part in PARTS:
                torch.testing.assert_close(one.tensors[part], other.tensors[part], rtol=1e-8, atol=1e-9)


def test_a_ratio_correction_keeps_the_sum_of_each_head() -> None:
    explainer, inputs = (
        shared(ARCHITECTURES["bert"], torch.float64),
        example(ARCHITECTURES["bert"], 5),
    )
    plain, corrected = (
        explainer.explain(inputs, "z2z", layer_baseline=baseline, split=True)
        for baseline in ("itb", "itb_zero_ratio")
    )
    for part in ("z2z_heads", "z2z_mlp"):
        torch.testing.assert_close(plain.tensors[part].sum(-1), corrected.tensors[part].sum(-1))
    torch.testing.assert_close(corrected.tensors["z2z_heads"].sum(1), corrected.z2z)
    assert (corrected.split_error >= plain.split_error).all()
    assert (corrected.split_error > plain.split_error).any()


def test_a_rule_of_the_callers_own_takes_parts_for_sources() -> None:
    class Midpoint:
        name = "midpoint of my own"

        def integrate(
            self, integrand: Integrand, total: Tensor, scale: Tensor, tol: float, max_nodes: int
        ) -> Integral:
            targets = torch.arange(len(total))
            value = integrand((torch.arange(8) + 0.5) / 8, targets).mean(0)
            met = torch.ones_like(total, dtype=torch.bool)
            return Integral(value, torch.zeros_like(total), torch.full_like(targets, 8), met, met[:, 0])

    explainer, inputs = Explainer(build(ARCHITECTURES["bert"])), example(ARCHITECTURES["bert"], 5)
    rules: tuple[Any, ...] = (Midpoint(), "midpoint:8")
    own, ours = (explainer.explain(inputs, "z2z", quadrature=rule, split=True, tol=0.5) for rule in rules)
    for part in ("z2z", *PARTS):
        torch.testing.assert_close(own.tensors[part], ours.tensors[part], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", [DISENTANGLED, WHOLE_ONLY["mamba"]])
def test_layers_without_heads_to_tell_apart_are_refused_with_the_reason(architecture: Architecture) -> None:
    explainer = Explainer(build(architecture))
    reason = explainer.prepared.record(example(architecture, 5))[0].findings.reason
    with pytest.raises(UnsupportedModel, match="no z2z by head") as refused:
        explainer.explain(example(architecture, 5), "z2z", split=True)
    assert reason in str(refused.value)


def test_split_without_z2z_is_refused() -> None:
    with pytest.raises(LigflowError, match="split splits z2z, and the routes are z2u"):
        ask(routes="z2u", split=True)


def test_axes_lay_parts_side_by_side() -> None:
    axes = HeadAxes(heads=2, tokens=3, cross_heads=1, memory=2)
    parts = torch.arange(float(axes.size))[None, None]
    assert axes.size == 2 * (3 * 3 + 2)
    found = head_parts(axes, parts, torch.tensor([[0.5]]), torch.tensor([1]))
    assert found.heads.tolist() == [[[[0, 1, 2], [3, 4, 5]], [[9, 10, 11], [12, 13, 14]]]]
    assert found.residual.tolist() == [[7, 16]]
    assert found.cross is not None
    assert found.cross.tolist() == [[[[18, 19]], [[20, 21]]]]
    assert axes.sums(parts)[0, 0].tolist() == [45, 51, 57, 38, 40]
    shown = found.with_sources(torch.tensor([0, 2, 4]))
    assert shown.cross is not None
    assert (shown.heads.shape[-1], shown.cross.flatten().tolist()) == (2, [19, 21])
