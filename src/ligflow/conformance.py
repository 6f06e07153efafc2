"""Checks that a user can run on their own model, with the numbers that were measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ligflow import attribution, direct
from ligflow.attribution import Map, attribute
from ligflow.baselines import source_start
from ligflow.errors import LigflowError
from ligflow.explainer import Explainer
from ligflow.replay import Layer, borrowed
from ligflow.routes import Tokens, mlp_start

TEXTS = ("The cat sat on the mat.", "Rivers rarely run straight.")
_NODES = "gauss-legendre:4"


@dataclass(frozen=True)
class Check:
    """One check over all layers and inputs: the worst value measured against its limit."""

    name: str
    passed: bool
    measured: str
    limit: str
    detail: str = ""


def check(
    explainer: Explainer, inputs: Sequence[str | Mapping[str, Tensor]] | None = None, tol: float = 1e-3
) -> list[Check]:
    """Runs every check on `inputs` (two short ones if None) and returns what was measured.

    Layers that cannot be split are reported, and checked in z2z alone. Raises LigflowError where no
    input can be made up for the model; pass `inputs` then.
    """
    examples = list(inputs) if inputs is not None else _examples(explainer)
    recordings = [explainer.record(example) for example in examples]
    checks = [_splits(recordings[0]), _replays(explainer, recordings)]
    for baseline in ("itb", "zero", "mean"):
        checks.append(_engine(explainer, recordings, baseline))
    checks.append(_certificates(explainer, recordings, tol))
    checks.append(_causal(explainer, recordings[0]))
    return checks


def _examples(explainer: Explainer) -> list[str | Mapping[str, Tensor]]:
    if explainer.tokenizer is not None:
        return list(TEXTS)
    config, name = explainer.model.config, explainer.model.main_input_name
    generator = torch.Generator().manual_seed(0)
    if name == "pixel_values":
        shape = (1, getattr(config, "num_channels", 3), config.image_size, config.image_size)
        return [{name: torch.randn(shape, generator=generator).to(explainer.model.dtype)} for _ in range(2)]
    if name == "input_ids":
        size = config.get_text_config().vocab_size
        return [{name: torch.randint(3, size, (1, 6), generator=generator)} for _ in range(2)]
    raise LigflowError(f"No input can be made up for {name!r}; call check(explainer, inputs=[...]).")


def _splits(layers: list[Layer]) -> Check:
    refused = [layer for layer in layers if layer.refusal]
    detail = f"layer {refused[0].index}: {refused[0].refusal}; z2z only" if refused else ""
    whole = len(layers) - len(refused)
    return Check("layers split at their attention", True, f"{whole} of {len(layers)}", "any", detail)


def _replays(explainer: Explainer, recordings: list[list[Layer]]) -> Check:
    """Each replayed layer against the output that the model itself computed."""
    worst = 0.0
    for layer in _all(recordings):
        with borrowed(explainer.model, layer.implementation), torch.no_grad():
            hidden = layer.hidden[None]
            ours = layer.forward(hidden) if layer.refusal else layer.finish(hidden, layer.attend(hidden))
        worst = max(worst, float((ours[0] - layer.output).norm() / layer.output.norm()))
    limit = _rounding(explainer, 1e-4)
    return Check("replay equals the model", worst <= limit, f"{worst:.1e}", f"{limit:.0e}")


def _engine(explainer: Explainer, recordings: list[list[Layer]], baseline: str) -> Check:
    """Every route against brute-force autograd at the same path points."""
    worst, where, limit = 0.0, "", _rounding(explainer, 1e-4)
    for layer in _all(recordings):
        tokens = _tokens(layer)
        with borrowed(explainer.model, layer.implementation):
            for route, engine, oracle in _pairs(layer, baseline, tokens):
                gap = _gap(engine, oracle, tokens, limit)
                worst, where = max((worst, where), (gap, f"{route}, layer {layer.index}"))
    name = f"engine equals autograd, {baseline}"
    return Check(name, worst <= limit, f"{worst:.1e}", f"{limit:.0e}", f"worst: {where}")


def _pairs(layer: Layer, baseline: str, tokens: Tokens) -> Iterator[tuple[str, Map, Map]]:
    start = source_start(baseline, layer.hidden, tokens.visible)
    if layer.refusal:
        return
    yield "z2z", attribution.z2z(layer, start), direct.z2z(layer, start)
    yield "z2u", attribution.z2u(layer, start), direct.z2u(layer, start)
    starts = mlp_start(layer, "matched", baseline, tokens)
    yield "u2z", attribution.u2z(layer, *starts), direct.u2z(layer, *starts)


def _gap(engine: Map, oracle: Map, tokens: Tokens, limit: float) -> float:
    """The largest difference of a cell over the target's total; ten machine epsilons of the layer pass."""
    ours = attribute(engine, tokens.targets, "l2", _NODES)
    theirs = attribute(oracle, tokens.targets, "l2", _NODES)
    scale = ours.scale.clamp(min=ours.floor / 100 / limit)
    return float(((ours.value - theirs.value).abs().amax(-1) / scale).max())


def _certificates(explainer: Explainer, recordings: list[list[Layer]], tol: float) -> Check:
    worst = 0.0
    for layer in _all(recordings):
        tokens = _tokens(layer)
        with borrowed(explainer.model, layer.implementation):
            for route in _default_routes(layer, tokens):
                found = attribute(route, tokens.targets, "l2", tol=tol)
                worst = max(worst, float(((found.value.sum(-1) - found.total) / found.scale).abs().max()))
    return Check("certificates, default settings", worst <= tol, f"{worst:.1e}", f"{tol:.0e}")


def _default_routes(layer: Layer, tokens: Tokens) -> list[Map]:
    start = source_start("itb", layer.hidden, tokens.visible)
    if layer.refusal:
        return [direct.z2z(layer, start)]
    u2z = attribution.u2z(layer, *mlp_start(layer, "att_itb_a0", "itb", tokens))
    return [attribution.z2u(layer, start), u2z, attribution.z2z(layer, start)]


def _causal(explainer: Explainer, layers: list[Layer]) -> Check:
    """If no layer lets a token see later ones, no attribution may come from later ones."""
    name = "no attribution from the future"
    if len(layers[0].hidden) == 1 or not all(_ignores_last(explainer, layer) for layer in layers):
        return Check(name, True, "not causal", "0")
    worst = 0.0
    for layer in layers:
        tokens = _tokens(layer)
        with borrowed(explainer.model, layer.implementation):
            start = source_start("itb", layer.hidden, tokens.visible)
            route = direct.z2z(layer, start) if layer.refusal else attribution.z2z(layer, start)
            found = attribute(route, tokens.targets, "l2", _NODES)
            worst = max(worst, float(found.value[:, 0].triu(1).abs().max()))
    return Check(name, worst == 0, f"{worst:.1e}", "0")


def _ignores_last(explainer: Explainer, layer: Layer) -> bool:
    changed = layer.hidden.clone()
    changed[-1] = -changed[-1]
    with borrowed(explainer.model, layer.implementation), torch.no_grad():
        before, after = layer.forward(torch.stack([layer.hidden, changed]))
    return bool(torch.allclose(before[:-1], after[:-1], rtol=1e-5, atol=1e-6))


def _all(recordings: list[list[Layer]]) -> Iterator[Layer]:
    for layers in recordings:
        yield from layers


def _tokens(layer: Layer) -> Tokens:
    everyone = torch.arange(len(layer.hidden), device=layer.hidden.device)
    return Tokens(everyone, everyone)


def _rounding(explainer: Explainer, float32_limit: float) -> float:
    return 1e-9 if explainer.model.dtype == torch.float64 else float32_limit
