"""Norm-based attention: how large a vector each source writes to a target through attention.

    2020:  || sum_h alpha_jk^h W_O^h V_k^h ||
    2021:  || N_j( sum_h alpha_jk^h W_O^h V_k^h + [j = k] z_j ) ||

`N_j` is the norm of the attention block where there is one (after the residual, or before it), with what it
divides by held at its real value, which makes it linear. Kobayashi, Kuribayashi, Yokoi and Inui 2020
[kobayashi2020] and 2021 [kobayashi2021]. Biases belong to no source and are left out, but for those inside
the values.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.evaluation.leaf_calls import (
    LeafCall,
    Vectors,
    bias_of,
    block_norm,
    last_norm,
    leaf_calls,
    output_projection,
    same,
    through_matrix,
    through_norm,
)
from ligflow.layer.layer import Layer
from ligflow.method.attention import attention_weights
from ligflow.routes.workspace import Selection

Share = Callable[[Vectors, Float[Tensor, " dim"]], Vectors]  # vectors, a bias -> vectors that hold it, or not


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

    They are `N_j(sum_h alpha_jk^h W_O^h V_k^h + [j = k] z_j)`, and miss the biases of their sum unless these
    were shared out. `last` is the norm of the stream that ends the layer, where there is one after the block;
    `calls` are those of the layer's leaf modules, `projection` among them the one that attention writes with.
    """

    vectors: Vectors
    output: Float[Tensor, "target dim"]
    last: LeafCall | None
    calls: list[LeafCall]
    projection: LeafCall


def without_biases(vectors: Vectors, _bias: Float[Tensor, " dim"]) -> Vectors:
    """The vectors as they are: a bias belongs to no source."""
    return vectors


def block_vectors(layer: Layer, tokens: Selection, share: Share = without_biases) -> BlockVectors:
    """The vectors of an attention block with its residual and its norm, for each source [kobayashi2021].

    `share` says what becomes of each bias on the way. Raises UnsupportedModel for a layer in which no matrix
    takes the output of the heads.
    """
    vectors, projection, calls = _written(layer, tokens)
    rows = torch.arange(len(tokens.targets), device=vectors.device)
    block, stream = block_norm(layer, projection, calls), projection.out + layer.hidden
    before = block is not None and same(block.given, projection.out)
    if block is not None and before:
        vectors = share(vectors, bias_of(projection))
        vectors = share(through_norm(block, tokens)(vectors), bias_of(block))
        stream = block.out + layer.hidden
    vectors[rows, tokens.targets] += layer.hidden[tokens.targets]
    if not before:
        vectors = share(vectors, bias_of(projection))
    if block is not None and not before:
        vectors = share(through_norm(block, tokens)(vectors), bias_of(block))
        stream = block.out
    last = last_norm(layer, block, calls)
    return BlockVectors(vectors, stream[0, tokens.targets], last, calls, projection)


def _written(layer: Layer, tokens: Selection) -> tuple[Vectors, LeafCall, list[LeafCall]]:
    """`sum_h alpha_jk^h W_O^h V_k^h`, the output projection, and all calls of leaf modules."""
    with torch.no_grad():
        seen = layer.capture(layer.hidden[None])
        p = attention_weights(seen.query, seen.key, seen.form).p[0][:, tokens.targets]
        value = seen.value[0].repeat_interleave(len(p) // seen.value.shape[1], dim=0)
        calls = leaf_calls(layer)
        projection = output_projection(layer, calls)
        each = torch.einsum("hjk,hkd->jkhd", p, value).flatten(-2)
        return through_matrix(projection, each), projection, calls
