"""Which projections of a layer have a closed form (`method.norm_affine`), found in its modules and checked.

Nothing here knows a model family. The layer's projections are captured once with every leaf module
watched; norms are those leaves that have an epsilon. Hypotheses (no norm before, one of these; no norm
after, one of those) are tried on a path between two random points, and the first one that predicts
the plain capture is kept. What a position does to a key is fitted on probes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn

from ligflow.layer.closed_form import LeafInputs, capture_with_inputs, norm_affine_of, norm_affine_projections
from ligflow.layer.interface import PROJECTIONS, Captured
from ligflow.layer.layer import Layer
from ligflow.layer.projections import ClosedForm, Norm, ProjectionForm
from ligflow.layer.rotary_probe import random_like, rotation_of
from ligflow.method.norm_affine import NormAffine, of_each, on_path
from ligflow.method.rotary import Rotation

_TRIED = 4  # vectors that a norm is tried on
_EPSILONS = ("eps", "variance_epsilon", "epsilon", "norm_eps", "layer_norm_eps", "layernorm_epsilon")
_AT = 0.65  # the point of the path on which hypotheses are tried
_LIMIT = {torch.float64: 1e-10}
_FLOAT32_LIMIT = 2e-5


def recognise(layer: Layer, projections: Mapping[nn.Module, int]) -> ClosedForm | str:
    """The layer's closed form, validated against the plain capture; or the reason why it has none."""
    if layer.findings.one_by_one and layer.layout.examples is not None:
        return "it takes one example at a time"
    if layer.layout.examples:
        return "its hidden states count tokens before examples"
    if layer.findings.windows and any(windows > 1 for windows, _ in layer.findings.windows.calls):
        return "its attention takes windows for examples"
    ends = torch.stack([layer.hidden, random_like(layer.hidden)])
    mixed = (ends[0] + _AT * (ends[1] - ends[0]))[None]
    captured, inputs = capture_with_inputs(layer, torch.cat([ends, mixed, torch.zeros_like(mixed)]))
    forms = {}
    for part in PROJECTIONS:
        form = _first_that_fits(part, captured, inputs, ends)
        if form is None:
            return f"its {part} is neither affine nor norm-then-affine in the hidden states"
        forms[part] = form
    reason = ""
    for probed in _last_before_positions(forms["key"], captured, projections):
        closed_form = ClosedForm(forms, probed)
        reason = _wrong_place(layer, closed_form)
        if not reason:
            return closed_form
    return reason


def _last_before_positions(
    key: ProjectionForm, captured: Captured, projections: Mapping[nn.Module, int]
) -> Iterator[Mapping[nn.Module, int]]:
    """The modules that positions may act on: the norm of the keys, or (norm after rotation) the matrices."""
    if key.after is not None:
        _, groups, _, dim = captured.key.shape
        yield {**projections, key.after.module: dim if key.after.by_group else groups * dim}
    yield projections


def projections_of(layer: Layer) -> dict[nn.Module, int]:
    """The matrices inside the attention module that run before its attention, with their output sizes."""
    outputs: dict[nn.Module, Any] = {}
    captured, inputs = capture_with_inputs(layer, layer.hidden[None], outputs=outputs)
    tokens = (1, len(layer.hidden))
    inside = set(captured.module.modules()) if captured.module is not None else set()
    sizes = {}
    for module, taken in inputs.items():
        weight, output = getattr(module, "weight", None), outputs[module]
        matrix = weight is not None and weight.ndim == 2 and _epsilon(module) is None
        matrix = matrix and isinstance(output, Tensor)  # a quantized model's gives scales too
        if module in inside and matrix and taken.shape[:-1] == tokens and taken.is_floating_point():
            sizes[module] = output.shape[-1]
    return sizes


# --- recognition ----------------------------------------------------------------------------------


def _first_that_fits(
    part: str, captured: Captured, inputs: LeafInputs, ends: Tensor
) -> ProjectionForm | None:
    values = getattr(captured, part)
    limit = _LIMIT.get(values.dtype, _FLOAT32_LIMIT)
    for form in _hypotheses(values, inputs, ends):
        offset = values[3:4] if form.shifted else None
        ends_of_part = norm_affine_of(values[:2], offset, form, inputs, 2)
        bare = replace(ends_of_part, offset=None)
        first, last = of_each(bare, itemgetter(0)), of_each(bare, itemgetter(1))
        last = replace(last, offset=None if offset is None else offset[0])
        predicted, _ = on_path(first, last, torch.tensor([_AT], device=values.device, dtype=values.dtype))
        if float((predicted[0] - values[2]).norm()) <= limit * float(values[2].norm()):
            return form
    return None


def _hypotheses(values: Tensor, inputs: LeafInputs, ends: Tensor) -> Iterator[ProjectionForm]:
    """Simple ones first. A shift is what a norm-then-affine projection makes of 0."""
    # not those that take one example at a time
    together = [module for module in inputs if len(inputs[module]) == len(values)]
    norms = [norm for module in together if (norm := norm_of(module, inputs[module])) is not None]
    befores = [
        n for n in norms if inputs[n.module].shape[1:] == ends.shape[1:] and _takes(inputs[n.module], ends)
    ]
    afters = [n for norm in norms if norm not in befores for n in _placed(norm, inputs[norm.module], values)]
    shifted = bool(values[3].abs().max() > 0)
    for after in (None, *afters):
        for before in (None, *befores):
            yield ProjectionForm(before, after, shifted and before is not None and after is None)


def _takes(taken: Tensor, ends: Tensor) -> bool:
    return bool(torch.equal(taken[: len(ends)], ends))


def _placed(norm: Norm, taken: Tensor, values: Tensor) -> list[Norm]:
    """A norm whose input has the numbers of a projection: a group each, or all of them together."""
    _, groups, tokens, dim = values.shape
    shape = tuple(taken.shape[1:])
    placed = [replace(norm, by_group=True)] if shape == (tokens, groups, dim) else []
    if shape == (groups, tokens, dim):
        placed.append(replace(norm, tokens_first=False, by_group=True))
    return [*placed, norm] if shape == (tokens, groups * dim) else placed


def norm_of(module: nn.Module, taken: Tensor) -> Norm | None:
    """The module as a norm: it has an epsilon, and a shift of its input tells if it takes off the mean."""
    eps = _epsilon(module)
    if eps is None or not taken.is_floating_point():
        return None
    with torch.no_grad():
        before, after = module(taken), module(taken + taken.abs().mean())
        centred = bool((after - before).norm() <= 1e-2 * before.norm())
        beside = _beside_the_mean(module, taken, centred, eps)
    return None if beside is None else Norm(module, centred, beside)


def _beside_the_mean(module: nn.Module, taken: Tensor, centred: bool, eps: float) -> float | None:
    """What a norm adds to the mean of squares: its epsilon, or a part of it if that is added to their sum.

    Seen where both count alike; None where the norm does something else to small numbers.
    """
    x = (taken - taken.mean(-1, keepdim=True) if centred else taken).flatten(0, -2)
    x = x[x.square().mean(-1) > eps][:_TRIED].view(-1, *[1] * (taken.ndim - 2), x.shape[-1])
    if not len(x) or eps <= 0:
        return eps
    mean = x.square().mean(-1)
    base = module(torch.zeros_like(x))

    def size(scale: Tensor) -> Tensor:
        return (module(scale[..., None] * x) - base).square().sum(-1)

    far, near = size(torch.ones_like(mean)), [size((eps / mean / part).sqrt()) for part in (1, 16)]
    ratio = near[0] / far
    measured = float((mean * (1 - ratio) / (ratio * mean / eps - 1)).median())
    likely = (part for part in (eps, eps / x.shape[-1]) if abs(measured - part) <= 0.01 * part)
    known = next(likely, measured)
    as_said = far * (mean + known) * eps / (mean * (eps + 16 * known))
    return known if known >= 0 and bool(((near[1] - as_said).abs() <= 0.02 * as_said).all()) else None


def _epsilon(module: nn.Module) -> float | None:
    return next((v for name in _EPSILONS if isinstance(v := getattr(module, name, None), float)), None)


# --- positions ------------------------------------------------------------------------------------


def _wrong_place(layer: Layer, closed_form: ClosedForm) -> str:
    """Compares keys and values of two targets' own paths with the plain capture; '' if they agree."""
    try:
        rotation = rotation_of(layer, closed_form)
    except ValueError as error:
        return str(error)
    own = torch.tensor([0, len(layer.hidden) - 1], device=layer.hidden.device)
    paths = (1 - _AT) * layer.hidden[own][:, None] + _AT * layer.hidden
    with torch.no_grad():
        plain = layer.capture(paths)
    _, by_part = norm_affine_projections(layer, closed_form, layer.hidden[None])
    for part, rotated in (("key", rotation), ("value", None)):
        theirs, ours = getattr(plain, part), _on_own_paths(by_part[part], own, rotated)
        limit = _LIMIT.get(theirs.dtype, _FLOAT32_LIMIT)
        if not float((ours - theirs).norm()) <= limit * float(theirs.norm()):
            return f"its {part} on a target's own path is not what was predicted"
    return ""


def _on_own_paths(projection: NormAffine, own: Tensor, rotation: Rotation | None) -> Tensor:
    """`X_k` at one point of the paths from the vector of each target in `own`."""
    real = of_each(replace(projection, offset=None), lambda part: part[0])
    last = of_each(real, lambda part: part.expand(len(own), *part.shape))
    at_zero = real if rotation is None else replace(real, numerator=rotation.back(real.numerator))
    first = of_each(at_zero, lambda part: part[:, own].transpose(0, 1)[:, :, None])
    first = of_each(first, lambda part: part.expand(-1, -1, projection.numerator.shape[-2], -1))
    if rotation is not None:
        numerator = rotation.cos * first.numerator + rotation.sin * first.numerator[..., rotation.partner]
        first = replace(first, numerator=numerator)
    node = torch.tensor([_AT], device=own.device, dtype=projection.numerator.dtype)
    return on_path(first, replace(last, offset=projection.offset), node)[0][0]
