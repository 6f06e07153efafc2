"""Measures the numbers that the pages print. Run: .venv/bin/python docs/scripts/measure.py NAME [NAME ...]

Names: rules, turning, vector, ends, ratios, origin, nearly_zero, routing, chain, points, start, witnesses,
softmax, noticing, parts. `origin`, `points`, `start`, `witnesses` and `parts` need the extra `gemma`;
`start`, `parts` and `nearly_zero` SmolLM2.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, product
from typing import Any

import torch
from by_name import run_named
from torch import Tensor
from transformers import MixtralConfig, MixtralModel

from ligflow import Explainer, Flow, direction
from ligflow.corpus.sources.readers import read
from ligflow.devices.private_copy import private_copy
from ligflow.evaluation.consistency import agreement
from ligflow.explainer.carried_starts import carried_starts
from ligflow.explainer.fingerprint import Structure, checksum
from ligflow.method import from_names
from ligflow.method.baselines import Baseline, Start
from ligflow.results.tracing import BASELINES, trace

SENTENCE = (
    "The old lighthouse keeper counted the ships while the storm grew darker, and nobody else saw the light."
)


RULES = (
    "captum:32", "captum:300", "trapezoid:32", "midpoint:32", "gauss-legendre:16", "adaptive",
)  # fmt: skip


def spread(values: Tensor) -> str:
    """Median and largest magnitude."""
    size = values.abs().flatten()
    return f"{float(size.median()):.1e} / {float(size.max()):.1e}"


def z2z(explainer: Explainer, layers: Sequence[int] | None = None, **settings: object) -> Flow:
    return explainer.explain(SENTENCE, routes=("z2z",), layers=layers, **settings)  # type: ignore[arg-type]


def rules() -> None:
    """Relative completeness error over targets, median / max, of z2z in the first and the last layer."""
    explainer = Explainer.from_pretrained()
    for baseline in ("zero", "itb"):
        for rule in RULES:
            flow = z2z(explainer, [0, 5], layer_baseline=baseline, quadrature=rule)
            first, last = flow.certificate("z2z")
            nodes = float(flow.nodes("z2z").float().mean())
            print(
                f"{baseline:5} {rule:18} layer 0 {spread(first)}   layer 5 {spread(last)}   nodes {nodes:.1f}"
            )


def turning() -> None:
    """How far l2 and projection are apart: sum over sources of |l2 - projection|, over the total."""
    explainer = Explainer.from_pretrained()
    for baseline in ("itb", "zero", "mean"):
        turned, straight = (
            z2z(explainer, layer_baseline=baseline, scalarization=kind, tol=1e-5)
            for kind in ("l2", "projection")
        )
        apart = (turned.z2z - straight.z2z).abs().sum(-1) / turned.total("z2z")
        for layer, row in zip(turned.layers, apart, strict=True):
            print(f"{baseline:5} layer {layer}: median / max over targets {spread(row)}")


def vector() -> None:
    """The vector identity: as many unit directions as the layer has components, one target."""
    explainer = Explainer.from_pretrained()
    size = explainer.model.config.hidden_size
    moved, missing = torch.zeros(size), torch.zeros(size)
    for component, unit in enumerate(torch.eye(size)):
        flow = explainer.explain(
            "The cat sat.",
            routes=("z2z",),
            layers=[0],
            targets=[2],
            scalarization=direction(unit),
            quadrature="gauss-legendre:32",
        )
        moved[component] = flow.total("z2z").item()
        missing[component] = flow.z2z.sum() - flow.total("z2z").item()
    print(f"||dF|| = {moved.norm():.4f}, ||sum_k C_k - dF|| / ||dF|| = {missing.norm() / moved.norm():.1e}")


def ends() -> None:
    """Sums of the direct and the conserving composed map, target by target."""
    explainer = Explainer.from_pretrained()
    for att, mlp, layer in (
        ("itb", "att_itb_a0", "itb"),
        ("zero", "matched", "zero"),
        ("mean", "matched", "mean"),
        ("itb", "zero", "itb"),
        ("zero", "zero", "zero"),
    ):
        flow = explainer.explain(
            SENTENCE, layers=[0, 5], att_baseline=att, mlp_baseline=mlp, layer_baseline=layer
        )
        gap = (flow.composed("conserving").sum(-1) - flow.z2z.sum(-1)) / flow.total("z2z")
        print(f"ATT {att:5} MLP {mlp:11} layer {layer:5}: relative gap of the sums {spread(gap)}")


def ratios() -> None:
    """How many rows get a self share above 1 from itb_zero_ratio, which flips the other signs."""
    explainer = Explainer.from_pretrained()
    flow = explainer.explain(SENTENCE, routes=("z2u", "z2z"), att_baseline="zero", layer_baseline="zero")
    for route, values in (("z2u", flow.z2u), ("z2z", flow.z2z[:, None])):
        share = values.diagonal(dim1=-2, dim2=-1) / values.sum(-1)
        print(
            f"{route}: {int((share > 1).sum())} of {share.numel()} self shares above 1, "
            f"{int((share < 0).sum())} below 0, range {float(share.min()):.2f} to {float(share.max()):.2f}"
        )


def origin() -> None:
    """Gemma-3-270M: how far z2z has moved at a = 1e-6, over its scale, and what it takes to resolve it."""
    explainer = Explainer.from_pretrained("embedded:gemma-3-270m")
    for baseline in ("zero", "itb", "mean"):
        flow = z2z(explainer, [0, 9, 17], layer_baseline=baseline)
        for row, layer in enumerate(flow.layers):
            mass, nodes = flow.origin_mass("z2z")[row], flow.nodes("z2z")[row].float()
            print(
                f"{baseline:5} layer {layer:2}: origin mass {spread(mass)}, mean nodes {nodes.mean():.0f}, "
                f"worst |certificate| {flow.certificate('z2z')[row].abs().max():.1e}"
            )


@dataclass(frozen=True)
class Part(Baseline):
    """Every token starts at a part of its own vector: 0 is `zero`."""

    part: float
    name = "part"

    def start(self, z: Tensor, _visible: Tensor) -> Start:
        return Start(self.part * z)


def nearly_zero() -> None:
    """SmolLM2, 3 sentences: direct and composed with matched ends, from 0 and from a tenth of each vector.

    Pearson without the target among the sources, then without the first token too; how large the sum of a
    row is beside its magnitudes, direct and composed; how far direct has moved at a = 1e-6. Means over rows.
    """
    explainer = Explainer.from_pretrained("embedded:smollm2")
    for part in (0.0, 0.1):
        rows = []
        for sentence in islice(read("embedded:sentences"), 3):
            start = Part(part) if part else "zero"
            flow = explainer.explain(
                sentence.inputs, layer_baseline=start, att_baseline=start, mlp_baseline="matched"
            )
            rows.append(agreements(flow))
        for layers in (slice(None), slice(0, 3), slice(3, 12), slice(12, 24), slice(24, 30)):
            values = torch.cat([of_one[:, layers].flatten(1) for of_one in rows], dim=1).nanmean(dim=1)
            numbers = "  ".join(f"{float(value):.2f}" for value in values)
            print(f"from {part:.1f}  layers {layers!s:22} {numbers}")


def agreements(flow: Flow) -> Tensor:
    """What `nearly_zero` prints, as `[number, layer, target]`."""
    direct, composed = flow.z2z.double(), flow.composed("conserving").double()
    others = torch.ones_like(direct, dtype=torch.bool).tril(-1)
    later = others.clone()
    later[..., 0] = False
    still = torch.zeros(direct.shape[:2], dtype=torch.bool)
    pearson = [agreement(direct, composed, seen, still)["pearson"] for seen in (others, later)]
    kept = [maps.sum(-1).abs() / maps.abs().sum(-1) for maps in (direct, composed)]
    return torch.stack([*pearson, *kept, flow.origin_mass("z2z").double()])


def routing() -> None:
    """A tiny random Mixtral: cells of z2z, what jumps of the router leave uncertified; and frozen."""
    torch.manual_seed(0)
    config = MixtralConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=48, vocab_size=64, num_local_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    explainer = Explainer(MixtralModel(config).eval())
    inputs = {"input_ids": torch.randint(3, 64, (1, 16))}
    for baseline, experts in product(("itb", "zero", "mean"), ("routed", "frozen")):
        flow = explainer.explain(inputs, routes=("z2z",), layer_baseline=baseline, experts=experts)
        certificate, met = flow.certificate("z2z").abs(), flow.tensors["z2z.met"]
        changes = flow.routing_changes
        print(
            f"{baseline:5} {experts}: {len(flow.unmet)} of {met.numel()} cells unmet, "
            f"worst |certificate| {certificate.max():.1e}, of the others {certificate[met].max():.1e}; "
            f"experts change for {len(changes)} targets, {sum(change.met for change in changes)} of them met"
        )
        for name, some in (("all", changes), ("met", [change for change in changes if change.met])):
            if some:
                print(f"      jumps of F of {name}: {spread(torch.tensor([change.jump for change in some]))}")


def chain() -> None:
    """Traces on MiniLM: how far the starts of neighbouring layers are apart; true and estimated errors."""
    explainer = Explainer.from_pretrained()
    example = explainer.prepared.example(explainer.prepared.encode(SENTENCE), ("z2z",), None, None)
    layers, every = example.layers, example.selection.visible
    for baseline in ("mean", "zero", "carried"):
        if baseline == "carried":
            starts = carried_starts(example, from_names.layer_baseline("mean"))
        else:
            named = from_names.layer_baseline(baseline)
            starts = [named.start(layer.hidden, every).vectors for layer in layers]
        gaps = []
        for (lower, upper), (below, start) in zip(pairwise(layers), pairwise(starts), strict=True):
            with explainer.prepared.ready_for(lower), torch.no_grad():
                mapped = lower.forward(below[None])[0]
            gaps.append(((mapped - start).norm(dim=-1) / (upper.hidden - start).norm(dim=-1)).median())
        print(f"{baseline}: apart by {' '.join(f'{gap:.2f}' for gap in gaps)} of the upper layer's step")
        coarse, fine = (explainer.explain(SENTENCE, tol=tol, **BASELINES[baseline]) for tol in (1e-3, 2e-5))
        for which in ("z2z", "composed"):
            found = [(trace(coarse, t, which=which), trace(fine, t, which=which)) for t in coarse.targets]
            true = torch.stack([(one.relevance - other.relevance).abs().sum(-1)[1:] for one, other in found])
            estimated = torch.stack([one.errors[1:] for one, _ in found])
            worst = (true / estimated.clamp(min=1e-12)).amax()
            sizes = f"true L1 error {spread(true)}, estimated {spread(estimated)}"
            drift = torch.stack([one.relevance.sum(-1)[1:] - 1 for one, _ in found])
            print(f"  {which}: {sizes}; at most {worst:.2f} of it; sums off by {spread(drift.abs())}")


def points() -> None:
    """Mean points a target under itb; for how many targets a Gauss rule with 7 is off by more than 1e-3."""
    for name, layers in (("embedded:minilm", range(6)), ("embedded:gemma-3-270m", range(0, 18, 3))):
        explainer = Explainer.from_pretrained(name)
        adaptive, coarse, fine = (
            explainer.explain(SENTENCE, layers=layers, quadrature=rule)
            for rule in ("adaptive", "gauss-legendre:7", "gauss-legendre:128")
        )
        means = []
        for route in adaptive.routes:
            nodes, off = adaptive.nodes(route).float(), off_by(coarse, fine, route) > 1e-3
            means.append(float(nodes.mean()))
            print(
                f"{name} {route}: mean points {means[-1]:.1f}, most {nodes.max():.0f}; "
                f"7 points are off for {float(off.float().mean()):.0%} of {off.numel()} targets; "
                f"mean points by layer {' '.join(f'{one:.1f}' for one in nodes.mean(1).tolist())}"
            )
        print(f"{name}, mean of the routes: {sum(means) / len(means):.1f}")


def start() -> None:
    """Mean and most points a target under `zero`, and seconds of CPU for the three routes."""
    for name, layers in (
        ("embedded:minilm", range(6)),
        ("embedded:smollm2", (0, 10, 20, 29)),
        ("embedded:gemma-3-270m", (0, 9, 17)),
    ):
        explainer, began = Explainer.from_pretrained(name), time.process_time()
        flow = explainer.explain(
            SENTENCE, layers=layers, layer_baseline="zero", att_baseline="zero", mlp_baseline="matched"
        )
        taken = {route: flow.nodes(route).float() for route in flow.routes}
        said = ", ".join(
            f"{route} {nodes.mean():.1f} (most {nodes.max():.0f})" for route, nodes in taken.items()
        )
        print(f"{name}: {said}; {len(flow.unmet)} unmet; {time.process_time() - began:.1f} s of CPU")


def witnesses() -> None:
    """Rows off by more than 5e-5 under itb: true errors over what tells of them, at 10%, 50% and 90%."""
    for name, layers in (("embedded:minilm", range(6)), ("embedded:gemma-3-270m", range(0, 18, 3))):
        explainer = Explainer.from_pretrained(name)
        adaptive, coarse, fine = (
            explainer.explain(SENTENCE, ("z2u", "z2z"), layers, quadrature=rule)
            for rule in ("adaptive", "gauss-legendre:7", "gauss-legendre:128")
        )
        for route in ("z2u", "z2z"):
            for what, flow, told in (
                ("7 points, over what is missing", coarse, coarse.certificate(route).abs()),
                ("adaptive, over the estimate", adaptive, adaptive.estimated_error(route)),
            ):
                apart = (flow.tensors[route] - fine.tensors[route]).abs().sum(-1)
                true = apart / fine.tensors[f"{route}.scale"]
                ratio = (true / told.clamp(min=1e-9))[true > 5e-5]
                parts = ratio.quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()
                print(
                    f"{name} {route}, {what}: {' / '.join(f'{one:.2f}' for one in parts)}; over 1 in "
                    f"{float((ratio > 1).float().mean()):.0%} of {ratio.numel()} rows of {true.numel()}"
                )


def softmax() -> None:
    """MiniLM off the attention interface, seen at its softmax, against on it: time, largest difference."""
    explainer = Explainer.from_pretrained()
    plain, expected = timed(explainer), explainer.explain(SENTENCE)
    for kind in {type(module) for module in explainer.model.modules() if hasattr(module, "is_causal")}:
        kind.forward = with_a_table_of_its_own(kind.forward)
    explainer = Explainer(explainer.model, explainer.tokenizer)
    found = explainer.explain(SENTENCE)
    gaps = (
        ((found.tensors[route] - one).abs() / expected.total(route)[..., None]).max()
        for route, one in expected.tensors.items()
        if route in ("z2u", "z2z")
    )
    print(f"{timed(explainer) / plain:.2f} times as long; largest difference {float(max(gaps)):.1e}")


def noticing() -> None:
    """MiniLM: what it takes to notice that a model has changed, and to copy its modules, of a whole call."""
    explainer = Explainer.from_pretrained()
    model = explainer.model
    structure = Structure(model)
    work: dict[str, Callable[[], Any]] = {
        "whether the structure is the same": lambda: structure.is_now_of(model),
        "structure": lambda: Structure(model),
        "checksums of the layers": lambda: checksum(model.encoder.parameters()),
        "private copy": lambda: private_copy(model),
        "a whole call": lambda: explainer.explain(SENTENCE),
    }
    for name, run in work.items():
        run()
        start = time.perf_counter()
        for _ in range(5):
            run()
        print(f"{name}: {(time.perf_counter() - start) / 5 * 1e3:.1f} ms")


def with_a_table_of_its_own(own: Callable[..., Any]) -> Callable[..., Any]:
    """An attention that does not find implementations of the interface."""
    return lambda module, *args, **kwargs: {"eager": own}[module.config._attn_implementation](
        module, *args, **kwargs
    )


def timed(explainer: Explainer) -> float:
    """Median seconds of five calls, after one."""
    explainer.explain(SENTENCE)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        explainer.explain(SENTENCE)
        times.append(time.perf_counter() - start)
    return sorted(times)[2]


def off_by(coarse: Flow, fine: Flow, route: str) -> Tensor:
    """The L1 distance of each target's rows, relative as the certificate; the worst of the heads."""
    apart = (coarse.tensors[route] - fine.tensors[route]).abs()
    if route == "u2z":
        return apart.sum(1) / fine.tensors["u2z.scale"]
    relative = apart.sum(-1) / fine.tensors[f"{route}.scale"]
    return relative.amax(1) if route == "z2u" else relative


def parts() -> None:
    """True L1 errors of z2z by head, against maps with a tolerance of 2e-5, beside their estimates."""
    text = "When the rain stopped, the children who had waited inside ran to the river."
    for name, layers in (
        ("embedded:minilm", None),
        ("embedded:smollm2", (0, 10, 20, 29)),
        ("embedded:gemma-3-270m", (0, 5, 11, 17)),
    ):
        explainer = Explainer.from_pretrained(name)
        for baseline in ("itb", "mean", "zero"):
            found, exact = (
                explainer.explain(text, "z2z", layers, layer_baseline=baseline, split=True, tol=tol)
                for tol in (1e-3, 2e-5)
            )
            true = (ways(found) - ways(exact)).abs().sum((0, 2, 4)) / found.tensors["z2z.scale"]
            estimate = found.split_error
            within = int((true <= estimate + 2e-5).sum())
            worst = float((true / (estimate + 2e-5)).max())
            print(
                f"{name} {baseline:4} true {spread(true)}   estimate {spread(estimate)}   true is within "
                f"{within} of {true.numel()}, at most {worst:.2f} of it"
            )


def ways(flow: Flow) -> Tensor:
    """All parts of z2z, `[way, layer, head, target, source]`, the last head being past attention."""
    through = flow.z2z_mlp, flow.z2z_residual_mlp
    beside = flow.z2z_heads - through[0], flow.z2z_residual - through[1]
    return torch.stack([
        torch.cat([heads, torch.diag_embed(past)[:, None]], dim=1) for heads, past in (through, beside)
    ])  # fmt: skip


MEASURES = (
    rules,
    turning,
    vector,
    ends,
    ratios,
    origin,
    nearly_zero,
    routing,
    chain,
    points,
    start,
    witnesses,
    softmax,
    noticing,
    parts,
)


if __name__ == "__main__":
    run_named(MEASURES, sys.argv[1:], __doc__)
