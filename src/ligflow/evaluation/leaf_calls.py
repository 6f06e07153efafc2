"""What the leaf modules of a layer take and give in its real run, and which of them does what.

Methods that follow vectors through a layer need its matrices and norms by role. The roles are read off the
numbers that pass, not off names: the matrix that takes the heads' outputs side by side, the norm of what it
writes, the norm that makes the layer's output.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ligflow.errors import UnsupportedModel
from ligflow.layer.closed_form import is_leaf, psi
from ligflow.layer.layer import Layer
from ligflow.recording.recognition import norm_of
from ligflow.routes.workspace import Selection

Vectors = Float[Tensor, "target source dim"]
_CLOSE = 1e-4


@dataclass(frozen=True, eq=False)
class LeafCall:
    """A leaf module as it was called in a layer."""

    module: nn.Module
    given: Tensor
    out: Tensor


def leaf_calls(layer: Layer) -> list[LeafCall]:
    """The calls of leaf modules in the order in which a layer makes them."""
    with torch.no_grad():
        return list(_calls(layer))


def _calls(layer: Layer) -> Iterator[LeafCall]:
    calls: list[LeafCall] = []

    def note(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if args and isinstance(args[0], Tensor) and isinstance(out, Tensor):
            calls.append(LeafCall(module, args[0], out))

    leaves = [module for module in layer.module.modules() if is_leaf(module)]
    handles = [module.register_forward_hook(note) for module in leaves]
    try:
        layer.forward(layer.hidden[None])
    finally:
        for handle in handles:
            handle.remove()
    yield from calls


def output_projection(layer: Layer, calls: list[LeafCall]) -> LeafCall:
    """The first matrix that takes u, all heads side by side; raises UnsupportedModel where there is none."""
    u = layer.attend(layer.hidden[None]).flatten(-2)
    for call in calls:
        if is_matrix(call) and call.given.shape == u.shape and same(call.given, u):
            return call
    raise UnsupportedModel(
        f"Layer {layer.index} ({type(layer.module).__name__}): no matrix takes the output of its heads side "
        "by side, so that norm-based attention is not defined."
    )


def block_norm(layer: Layer, projection: LeafCall, calls: list[LeafCall]) -> LeafCall | None:
    """The norm that belongs to attention: of what it writes, or of the residual stream after it.

    A norm of the stream belongs to it only where the stream itself is normalised, so that a norm is the last
    thing that the layer does.
    """
    norms = norms_of(calls)
    stream = projection.out + layer.hidden
    for call in norms:
        if same(call.given, projection.out):
            return call
        if same(call.given, stream) and same(norms[-1].out[0], layer.output):
            return call
    return None


def last_norm(layer: Layer, block: LeafCall | None, calls: list[LeafCall]) -> LeafCall | None:
    """The norm that makes a layer's output, if it is another than the block's."""
    norms = norms_of(calls)
    if not norms or norms[-1] is block or not same(norms[-1].out[0], layer.output):
        return None
    return norms[-1]


def norms_of(calls: list[LeafCall]) -> list[LeafCall]:
    """The calls of norms."""
    return [call for call in calls if norm_of(call.module, call.given) is not None]


def is_matrix(call: LeafCall) -> bool:
    """Whether the module multiplies by one matrix, and adds a bias or none."""
    weight = getattr(call.module, "weight", None)
    return weight is not None and weight.ndim == 2


def same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors hold the same vector for each token, up to rounding of that vector's size.

    Sums of large vectors round small components away, so components are not compared one by one.
    """
    if first.shape[-2:] != second.shape[-2:]:
        return False
    apart, size = (first - second).norm(dim=-1), second.norm(dim=-1)
    return bool((apart <= _CLOSE * size).all())


def bias_of(call: LeafCall) -> Float[Tensor, " dim"]:
    """What a matrix or a norm makes of 0: its bias, or zeros."""
    with torch.no_grad():
        bias: Tensor = call.module(torch.zeros_like(call.given.flatten(0, -2)[:1]))[0]
        return bias


def through_matrix(call: LeafCall, vectors: Vectors) -> Float[Tensor, "target source out"]:
    """Vectors times a matrix, without its bias."""
    with torch.no_grad():
        product: Tensor = call.module(vectors.flatten(0, 1)).unflatten(0, vectors.shape[:2])
        return product - bias_of(call)


def through_norm(norm: LeafCall, tokens: Selection) -> Callable[[Vectors], Vectors]:
    """A norm with what it divides by held at its real value for each target: `(N(c) - N(0)) |c| / |y_j|`."""
    kind = norm_of(norm.module, norm.given)
    assert kind is not None
    real = psi(norm.given.flatten(0, -2)[tokens.targets], kind).norm(dim=-1)[:, None, None]

    def apply(vectors: Tensor) -> Tensor:
        with torch.no_grad():
            bare = norm.module(vectors) - norm.module(torch.zeros_like(vectors))
            return bare * psi(vectors, kind).norm(dim=-1, keepdim=True) / real

    return apply
