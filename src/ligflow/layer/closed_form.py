"""Projections of given vectors in closed form: norm-affine, computed once a vector."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ligflow.layer.interface import PROJECTIONS, Captured
from ligflow.layer.layer import Layer
from ligflow.layer.projections import ClosedForm, Norm, ProjectionForm
from ligflow.method.norm_affine import NormAffine


def norm_affine_projections(
    layer: Layer, closed_form: ClosedForm, vectors: Float[Tensor, "n token dim"]
) -> tuple[Captured, dict[str, NormAffine]]:
    """Projections of `vectors`, each at its own position, and query, key and value as norm-affine maps."""
    shifted = any(form.shifted for form in closed_form.forms.values())
    probes = torch.cat([vectors, torch.zeros_like(vectors[:1])]) if shifted else vectors
    watched = {norm.module for r in closed_form.forms.values() for norm in (r.before, r.after) if norm}
    captured, inputs = capture_with_inputs(layer, probes, watched)
    by_part = {}
    for part in PROJECTIONS:
        values, form = getattr(captured, part), closed_form.forms[part]
        offset = values[-1:] if form.shifted else None
        by_part[part] = norm_affine_of(values[: len(vectors)], offset, form, inputs, len(vectors))
    return captured, by_part


def norm_affine_of(
    values: Tensor, offset: Tensor | None, form: ProjectionForm, inputs: "LeafInputs", count: int
) -> NormAffine:
    """One projection of all vectors, from the features that it has."""
    feature = _feature(form, inputs, count)
    numerator = values if offset is None else values - offset
    if feature is not None:
        numerator = numerator * feature.norm(dim=-1, keepdim=True)
    return NormAffine(numerator, feature, offset)


def _feature(form: ProjectionForm, inputs: "LeafInputs", count: int) -> Tensor | None:
    """ψ of the first `count` vectors of a watched capture, `[n, group or 1, token, feature]`."""
    feature = None
    if form.before is not None:
        feature = psi(inputs[form.before.module][:count], form.before)[:, None]
    if form.after is None:
        return feature
    own = _grouped(inputs[form.after.module][:count], form.after)
    if feature is None:
        return psi(own, form.after)
    own = psi(own * feature.norm(dim=-1, keepdim=True), form.after, with_eps=False)
    rest = form.after.eps**0.5 * feature
    return torch.cat([own, rest.expand(-1, own.shape[1], -1, -1)], dim=-1)


def psi(
    vectors: Float[Tensor, "*batch dim"], norm: Norm, with_eps: bool = True
) -> Float[Tensor, "*batch feature"]:
    """The feature whose length is what a norm of n numbers divides by: `ψ = (x/√n, √eps)`.

    Where the norm is centred, x is less its mean.
    """
    if norm.centred:
        vectors = vectors - vectors.mean(dim=-1, keepdim=True)
    vectors = vectors / vectors.shape[-1] ** 0.5
    return nn.functional.pad(vectors, (0, 1), value=norm.eps**0.5) if with_eps else vectors


def _grouped(vectors: Tensor, norm: Norm) -> Tensor:
    """The input of a norm of a projection as `[n, group, token, dim]`."""
    if vectors.ndim == 3:
        return vectors[:, None]
    return vectors.transpose(1, 2) if norm.tokens_first else vectors


LeafInputs = dict[nn.Module, Tensor]


def capture_with_inputs(
    layer: Layer,
    hidden: Tensor,
    modules: set[nn.Module] | None = None,
    outputs: dict[nn.Module, Any] | None = None,
) -> tuple[Captured, LeafInputs]:
    """A capture, with the inputs of the layer's leaf modules (or of `modules`) on the way.

    Their outputs are put into `made`.
    """
    inputs: LeafInputs = {}

    def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if args and isinstance(args[0], Tensor):
            inputs[module] = args[0]
            if outputs is not None:
                outputs[module] = output

    watch = (m for m in layer.module.modules() if (is_leaf(m) if modules is None else m in modules))
    handles = [module.register_forward_hook(note) for module in watch]
    try:
        with torch.no_grad():
            return layer.capture(hidden), inputs
    finally:
        for handle in handles:
            handle.remove()


def is_leaf(module: nn.Module) -> bool:
    """Whether a module holds no others, but for those that make its weights."""
    return all(name == "parametrizations" for name, _ in module.named_children())
