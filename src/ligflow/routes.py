"""The three routes of one layer under given settings: baselines turned into paths, and corrected."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow import attribution, direct
from ligflow.attention import weigh
from ligflow.attribution import Attribution, Map, attribute
from ligflow.baselines import Baseline, Start, map_ratio, self_share, source_start, zero_ratio
from ligflow.double import keep_double
from ligflow.errors import LigflowError
from ligflow.replay import Layer
from ligflow.scalarize import Direction, Scalarization
from ligflow.settings import Settings

_RATIOS = ("itb_zero_ratio", "itb_map_ratio")


@dataclass(frozen=True, eq=False)
class Tokens:
    """Which tokens of a layer are asked about: the unpadded ones, and the targets among them."""

    visible: Int[Tensor, " visible"]
    targets: Int[Tensor, " target"]


def explain_layer(layer: Layer, settings: Settings, tokens: Tokens) -> dict[str, Attribution]:
    """Every route of the settings, as attributions over all sources of the layer (padding included)."""
    routes = {"z2u": _z2u, "u2z": _u2z, "z2z": _z2z}
    return {route: routes[route](layer, settings, tokens) for route in settings.routes}


def attention_weights(layer: Layer, targets: Int[Tensor, " target"]) -> Float[Tensor, "target head source"]:
    """The model's own attention weights alpha."""
    with torch.no_grad():
        seen = layer.capture(layer.hidden[None])
        return weigh(seen.query, seen.key, seen.form).p[0].transpose(0, 1)[targets]


def u_at_start(
    layer: Layer, start: Start, targets: Int[Tensor, " target"]
) -> Float[Tensor, "token head value_dim"]:
    """`u_j(0) = ATT_j({z_k(0; j)}_k)` for the targets; other rows are 0 and unused."""
    rows = attribution.z2u(layer, start).image(torch.zeros(1, device=targets.device), targets)[0]
    return rows.new_zeros(len(layer.hidden), *rows.shape[1:]).index_copy(0, targets, rows)


def _z2u(layer: Layer, settings: Settings, tokens: Tokens) -> Attribution:
    def run(baseline: Baseline) -> Attribution:
        if _starts_flat(baseline, layer):
            with keep_double():
                found = _run_z2u(layer.in_double(), baseline, settings, tokens)
            return _in_single(found)
        return _run_z2u(layer, baseline, settings, tokens)

    return _with_correction(
        run(_underlying(settings.att_baseline)), settings.att_baseline, run, layer, tokens
    )


def _run_z2u(layer: Layer, baseline: Baseline, settings: Settings, tokens: Tokens) -> Attribution:
    start = source_start(baseline, layer.hidden, tokens.visible)
    return _attribute(attribution.z2u(layer, start), settings, tokens, "z2u")


def _starts_flat(baseline: Baseline, layer: Layer) -> bool:
    """From the mean of the sources u leaves with slope 0 (what they add cancels), so `u(a) - u(0)` grows
    like a^2 and its direction drowns in float32 rounding near the start: such paths run in float64.
    """
    shared = isinstance(baseline, Tensor) or baseline == "mean"
    return shared and layer.hidden.dtype == torch.float32 and layer.hidden.device.type != "mps"


def _in_single(found: Attribution) -> Attribution:
    parts: dict[str, Any] = dict(vars(found))
    for name, part in parts.items():
        if isinstance(part, Tensor) and part.is_floating_point():
            parts[name] = part.float()
    return Attribution(**parts)


def _z2z(layer: Layer, settings: Settings, tokens: Tokens) -> Attribution:
    def run(baseline: Baseline) -> Attribution:
        start = source_start(baseline, layer.hidden, tokens.visible)
        route = direct.z2z(layer, start) if layer.refusal else attribution.z2z(layer, start)
        return _attribute(route, settings, tokens, "z2z")

    name = settings.layer_baseline
    return _with_correction(run(_underlying(name)), name, run, layer, tokens)


def _u2z(layer: Layer, settings: Settings, tokens: Tokens) -> Attribution:
    u_start, residual_start = mlp_start(layer, settings.mlp_baseline, settings.att_baseline, tokens)
    return _attribute(attribution.u2z(layer, u_start, residual_start), settings, tokens, "u2z")


def mlp_start(
    layer: Layer, baseline: Baseline, att_baseline: Baseline, tokens: Tokens
) -> tuple[Float[Tensor, "token head value_dim"], Float[Tensor, "token dim"]]:
    """Where the heads and the residual of u2z start; the residual moves only under `matched`."""
    z = layer.hidden
    if isinstance(baseline, Tensor):
        return _custom_u(layer, baseline, tokens), z
    if baseline == "zero":
        return torch.zeros_like(u_end(layer)), z
    name = _underlying(att_baseline) if baseline == "matched" else "itb"
    start = source_start(name, z, tokens.visible)
    return u_at_start(layer, start, tokens.targets), z if start.per_target else start.vectors


def u_end(layer: Layer) -> Float[Tensor, "token head value_dim"]:
    """u of the real input."""
    with torch.no_grad():
        return layer.attend(layer.hidden[None])[0]


def _custom_u(layer: Layer, baseline: Tensor, tokens: Tokens) -> Tensor:
    end = u_end(layer)
    heads, dim = end.shape[1:]
    shapes = ((len(tokens.visible), heads, dim), (heads, dim))
    if tuple(baseline.shape) not in shapes or not torch.isfinite(baseline).all():
        raise LigflowError(
            f"mlp_baseline is a tensor of shape {tuple(baseline.shape)}; it holds attention outputs u, so "
            f"it must be finite and of shape {shapes[0]} or {shapes[1]} (tokens, heads, head size)."
        )
    out = torch.zeros_like(end)
    out[tokens.visible] = baseline.to(end)
    return out


def _attribute(route: Map, settings: Settings, tokens: Tokens, name: str) -> Attribution:
    kind = _fit(settings.scalarization_of(name), route, tokens, name)
    return attribute(route, tokens.targets, kind, settings.quadrature, settings.tol, settings.max_nodes)


def _fit(kind: Scalarization, route: Map, tokens: Tokens, name: str) -> Scalarization:
    """A direction for the chosen targets: `[dim]`, or one a token (for z2u: one a head, or both)."""
    if not isinstance(kind, Direction):
        return kind
    probe = route.image(torch.ones(1, device=tokens.targets.device), tokens.targets[:1])
    scalars, dim = probe.shape[2:]
    vector, visible = kind.vector, len(tokens.visible)
    shapes = [(dim,), (visible, dim)] if name != "z2u" else [(dim,), (scalars, dim), (visible, scalars, dim)]
    if tuple(vector.shape) not in shapes:
        raise LigflowError(
            f"The direction for {name} has shape {tuple(vector.shape)}; it must be one of {shapes}. Give "
            "one a route with scalarization={'z2z': direction(v), 'u2z': direction(v)}."
        )
    if len(vector) == visible and vector.ndim == len(shapes[-1]):
        rows = torch.searchsorted(tokens.visible, tokens.targets)
        vector = vector.to(tokens.targets.device)[rows].reshape(len(rows), -1, dim)
    return Direction(vector)


def _underlying(baseline: Baseline) -> Baseline:
    """A ratio corrects an `itb` row."""
    return "itb" if isinstance(baseline, str) and baseline in _RATIOS else baseline


def _with_correction(
    itb: Attribution, name: Baseline, run: Callable[[Baseline], Attribution], layer: Layer, tokens: Tokens
) -> Attribution:
    """Applies `itb_zero_ratio` or `itb_map_ratio`. The row keeps its sum, and so its certificate."""
    if isinstance(name, Tensor) or name not in _RATIOS:
        return itb
    if name == "itb_map_ratio":
        alpha = attention_weights(layer, tokens.targets)
        return replace(itb, value=map_ratio(itb.value, alpha, tokens.targets))
    zero = run("zero")
    return replace(
        itb,
        value=zero_ratio(itb.value, zero.value, tokens.targets),
        error=itb.error + zero.error,
        met=itb.met & zero.met,
        nodes=itb.nodes + zero.nodes,
        origin=zero.origin,
        flips=int((self_share(zero.value, tokens.targets) > 1).sum()),
    )
