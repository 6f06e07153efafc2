"""Norm-based attention: how large a vector each source writes to a target through attention.

    2020:  || sum_h alpha_jk^h W_O^h V_k^h ||
    2021:  || N_j( sum_h alpha_jk^h W_O^h V_k^h + [j = k] z_j ) ||

`N_j` is the norm of the attention block where there is one (after the residual, or before it), with what it
divides by held at its real value, which makes it linear. Kobayashi, Kuribayashi, Yokoi and Inui 2020
[kobayashi2020] and 2021 [kobayashi2021]. Biases belong to no source and are left out, but for those inside
the values.
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
from ligflow.method.attention import attention_weights
from ligflow.recording.recognition import norm_of
from ligflow.routes.workspace import Selection

_CLOSE = 1e-4


@dataclass(frozen=True, eq=False)
class _Call:
    """A leaf module as it was called in a layer."""

    module: nn.Module
    given: Tensor
    out: Tensor


def norm_based(layer: Layer, tokens: Selection) -> Float[Tensor, "target source"]:
    """The size of what each source writes, `||sum_h alpha_jk^h W_O^h V_k^h||` [kobayashi2020]."""
    written, _, _ = _written(layer, tokens)
    return written.norm(dim=-1)


def with_residual_and_norm(layer: Layer, tokens: Selection) -> Float[Tensor, "target source"]:
    """The same with the residual as what a target gives itself, through the block's norm [kobayashi2021].

    `||N_j(sum_h alpha_jk^h W_O^h V_k^h + [j = k] z_j)||`
    """
    return block_vectors(layer, tokens).vectors.norm(dim=-1)


@dataclass(frozen=True, eq=False)
class BlockVectors:
    """What each source gives to the output of the attention block, as vectors, and that output itself.

    They are `N_j(sum_h alpha_jk^h W_O^h V_k^h + [j = k] z_j)`, and miss the biases of their sum. `last` is
    the norm of the stream that ends the layer, where there is one after the block.
    """

    vectors: Float[Tensor, "target source dim"]
    output: Float[Tensor, "target dim"]
    last: Callable[[Float[Tensor, "target source dim"]], Float[Tensor, "target source dim"]] | None


def block_vectors(layer: Layer, tokens: Selection) -> BlockVectors:
    """The vectors of an attention block with its residual and its norm, for each source [kobayashi2021].

    Raises UnsupportedModel for a layer in which no matrix takes the output of the heads.
    """
    written, projection, calls = _written(layer, tokens)
    rows = torch.arange(len(tokens.targets), device=written.device)
    block, stream = _block_norm(layer, projection, calls), projection.out + layer.hidden
    before = block is not None and _same(block.given, projection.out)
    if block is not None and before:
        written, stream = _linear(block, tokens)(written), block.out + layer.hidden
    written[rows, tokens.targets] += layer.hidden[tokens.targets]
    if block is not None and not before:
        written, stream = _linear(block, tokens)(written), block.out
    return BlockVectors(written, stream[0, tokens.targets], _last_norm(layer, block, calls, tokens))


def _last_norm(
    layer: Layer, block: _Call | None, calls: list[_Call], tokens: Selection
) -> Callable[[Tensor], Tensor] | None:
    """The norm that makes a layer's output, if it is another than the block's."""
    norms = [call for call in calls if norm_of(call.module, call.given) is not None]
    if not norms or norms[-1] is block or not _same(norms[-1].out[0], layer.output):
        return None
    return _linear(norms[-1], tokens)


def _written(
    layer: Layer, tokens: Selection
) -> tuple[Float[Tensor, "target source dim"], _Call, list[_Call]]:
    """`sum_h alpha_jk^h W_O^h V_k^h`, the output projection, and all calls of leaf modules."""
    with torch.no_grad():
        seen = layer.capture(layer.hidden[None])
        p = attention_weights(seen.query, seen.key, seen.form).p[0][:, tokens.targets]
        value = seen.value[0].repeat_interleave(len(p) // seen.value.shape[1], dim=0)
        calls = list(_calls(layer))
        projection = _output_projection(layer, calls)
        each = torch.einsum("hjk,hkd->jkhd", p, value).flatten(-2)
        nothing = projection.module(torch.zeros_like(each[:1, 0]))
        return projection.module(each.flatten(0, 1)).unflatten(0, each.shape[:2]) - nothing, projection, calls


def _calls(layer: Layer) -> Iterator[_Call]:
    """What the leaf modules of a layer take and give, in the order of their calls."""
    calls: list[_Call] = []

    def note(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if args and isinstance(args[0], Tensor) and isinstance(out, Tensor):
            calls.append(_Call(module, args[0], out))

    leaves = [module for module in layer.module.modules() if is_leaf(module)]
    handles = [module.register_forward_hook(note) for module in leaves]
    try:
        layer.forward(layer.hidden[None])
    finally:
        for handle in handles:
            handle.remove()
    yield from calls


def _output_projection(layer: Layer, calls: list[_Call]) -> _Call:
    """The first matrix that takes u, all heads side by side."""
    u = layer.attend(layer.hidden[None]).flatten(-2)
    for call in calls:
        weight = getattr(call.module, "weight", None)
        if weight is not None and weight.ndim == 2 and call.given.shape == u.shape and _same(call.given, u):
            return call
    raise UnsupportedModel(
        f"Layer {layer.index} ({type(layer.module).__name__}): no matrix takes the output of its heads side "
        "by side, so that norm-based attention is not defined."
    )


def _block_norm(layer: Layer, projection: _Call, calls: list[_Call]) -> _Call | None:
    """The norm that belongs to attention: of what it writes, or of the residual stream after it.

    A norm of the stream belongs to it only where the stream itself is normalised, so that a norm is the last
    thing that the layer does.
    """
    norms = [call for call in calls if norm_of(call.module, call.given) is not None]
    stream = projection.out + layer.hidden
    for call in norms:
        if _same(call.given, projection.out):
            return call
        if _same(call.given, stream) and _same(norms[-1].out[0], layer.output):
            return call
    return None


def _same(some: Tensor, other: Tensor) -> bool:
    return some.shape[-2:] == other.shape[-2:] and torch.allclose(some, other, rtol=_CLOSE, atol=_CLOSE)


def _linear(norm: _Call, tokens: Selection) -> Callable[[Tensor], Tensor]:
    """A norm with what it divides by held at its real value for each target: `(N(c) - N(0)) |c| / |y_j|`."""
    kind = norm_of(norm.module, norm.given)
    assert kind is not None
    real = psi(norm.given[0][tokens.targets], kind).norm(dim=-1)[:, None, None]

    def apply(vectors: Tensor) -> Tensor:
        with torch.no_grad():
            bare = norm.module(vectors) - norm.module(torch.zeros_like(vectors))
            return bare * psi(vectors, kind).norm(dim=-1, keepdim=True) / real

    return apply
