"""What a layer's output is made of, its MLP counted in: Kobayashi et al. 2024, and DecompX, for one layer.

Both follow the vectors of the attention block (see `norm_based_attention`) through the MLP, with every norm
linear at its real divisor, and take their lengths at the end of the layer. Where the MLP is not linear,
integrated gradients from 0 divide what comes out among what goes in, neuron by neuron:

    activation of a sum      a(sum_k p_k)             p_k gets  p_k a(p) / p
    times a second matrix    a(sum_k p_k) sum_k q_k   p_k gets  p_k q (a(p) - A) / p,  q_k gets  q_k A

with `p = sum_k p_k`, `q = sum_k q_k` and `A = int_0^1 a(t p) dt`. The first line is the rule of both papers:
what the one calls integrated gradients [kobayashi2024] is the slope through zero of the other
[modarressi2023], since a function of one number has the mean slope `a(p) / p` between 0 and p. The second is
the same for MLPs with a gate, of which neither speaks. They differ in what becomes of biases: left out, or
shared among the sources by how much their vectors point along a bias,

    |<x_jk, b>| / sum_m |<x_jm, b>|

so that the vectors of DecompX sum to the output of the layer.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import UnsupportedModel
from ligflow.evaluation.leaf_calls import (
    LeafCall,
    Vectors,
    bias_of,
    is_matrix,
    norms_of,
    same,
    through_matrix,
    through_norm,
)
from ligflow.evaluation.norm_based_attention import BlockVectors, Share, block_vectors, without_biases
from ligflow.layer.layer import Layer
from ligflow.routes.workspace import Selection

_NODES = 64  # of A: more than float32 can tell, for activations whose bend is of size 1 and inputs below 100
Neurons = Float[Tensor, "target neuron"]


def norm_based_with_mlp(layer: Layer, tokens: Selection) -> Float[Tensor, "target source"]:
    """The size of what each source gives to the layer's output, biases left out [kobayashi2024].

    Raises UnsupportedModel for a layer whose MLP is not matrices about an activation after attention.
    """
    return layer_vectors(layer, tokens).norm(dim=-1)


def decompx(layer: Layer, tokens: Selection) -> Float[Tensor, "target source"]:
    """The size of what each source gives to the layer's output, biases shared out [modarressi2023].

    The same as `norm_based_with_mlp` in a layer without biases. Raises UnsupportedModel as that does.
    """
    return layer_vectors(layer, tokens, by_products).norm(dim=-1)


def by_products(vectors: Vectors, bias: Float[Tensor, " dim"]) -> Vectors:
    """Shares a bias among the vectors of a target by the size of their inner products with it."""
    size = (vectors @ bias).abs()
    share = size / size.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(size.dtype).tiny)
    return vectors + share[..., None] * bias


def layer_vectors(layer: Layer, tokens: Selection, share: Share = without_biases) -> Vectors:
    """What each source gives to the output of the layer, as vectors; `share` says what becomes of biases."""
    block = block_vectors(layer, tokens, share)
    mlp = _mlp_of(layer, block, tokens)
    vectors = block.vectors
    if mlp.before is not None:
        vectors = share(through_norm(mlp.before, tokens)(vectors), bias_of(mlp.before))
    given = [share(through_matrix(call, vectors), bias_of(call)) for call in mlp.first]
    slopes = _slopes(mlp.activation, [_rows(call.out, tokens) for call in mlp.first])
    inner = torch.stack([part * slope[:, None] for part, slope in zip(given, slopes, strict=True)]).sum(0)
    written = share(through_matrix(mlp.second, inner), bias_of(mlp.second))
    if mlp.after is not None:
        written = share(through_norm(mlp.after, tokens)(written), bias_of(mlp.after))
    whole = block.vectors + written
    return (
        whole if block.last is None else share(through_norm(block.last, tokens)(whole), bias_of(block.last))
    )


def _slopes(activation: Callable[[Tensor], Tensor], inputs: list[Neurons]) -> list[Neurons]:
    """By what each input of the neurons is multiplied: that of the activation, and that of a factor."""
    with torch.no_grad():
        p = torch.where(inputs[0] == 0, torch.finfo(inputs[0].dtype).eps, inputs[0])  # the slope has a limit
        real, start = activation(p), activation(torch.zeros_like(p))
        if len(inputs) == 1:
            return [(real - start) / p]
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        mean = torch.zeros_like(p)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            mean += weight * activation(float(node) * p)
        return [inputs[1] * (real - mean) / p, mean]


# --- which modules are the MLP --------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Mlp:
    """The parts of an MLP; with two first matrices, the first goes through the activation."""

    before: LeafCall | None
    first: list[LeafCall]
    activation: Callable[[Tensor], Tensor]
    second: LeafCall
    after: LeafCall | None


def _mlp_of(layer: Layer, block: BlockVectors, tokens: Selection) -> _Mlp:
    calls = block.calls[block.calls.index(block.projection) + 1 :]
    matrices = [call for call in calls if is_matrix(call)]
    first, second = matrices[:-1], matrices[-1] if matrices else None
    activation = _activation(calls, first, second)
    if second is None or activation is None:
        raise _refusal(layer)
    first = sorted(first, key=lambda call: not same(call.out, activation.given))
    norms = norms_of(calls)
    before = next(
        (
            norm
            for norm in norms
            if same(_rows(norm.given, tokens), block.output) and same(norm.out, first[0].given)
        ),
        None,
    )
    after = next((norm for norm in norms if same(norm.given, second.out)), None)
    taken, written = first[0].given if before is None else before.given, (after or second).out
    end = layer.output if block.last is None else block.last.given
    if not same(_rows(taken, tokens), block.output) or not same(
        block.output + _rows(written, tokens), _rows(end, tokens)
    ):
        raise _refusal(layer)
    return _Mlp(before, first, activation.module, second, after)


def _activation(calls: list[LeafCall], first: list[LeafCall], second: LeafCall | None) -> LeafCall | None:
    """The call between the matrices of an MLP, if what it makes of the first is what the second takes."""
    if second is None or not 1 <= len(first) <= 2 or not same(first[0].given, first[-1].given):
        return None
    for call in calls:
        for number, matrix in enumerate(first):
            other = first[1 - number].out if len(first) == 2 else None
            out = call.out if other is None else call.out * other if call.out.shape == other.shape else None
            if (
                call not in first
                and out is not None
                and same(call.given, matrix.out)
                and same(out, second.given)
            ):
                return call
    return None


def _rows(values: Tensor, tokens: Selection) -> Float[Tensor, "target dim"]:
    return values.flatten(0, -2)[tokens.targets]


def _refusal(layer: Layer) -> UnsupportedModel:
    return UnsupportedModel(
        f"Layer {layer.index} ({type(layer.module).__name__}): its output is not that of attention and then "
        "of an MLP of two matrices about an activation (or three with a gate), so that vectors cannot be "
        "followed through it. Use a method of the attention block, such as norm_based or alti."
    )
