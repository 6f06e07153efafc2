"""Integrated gradients over the attention weights: how much each weight carries to the target's output.

The weights of a row grow together from 0 to what they are, while values and residual stay [hao2021]. All at
a share a of themselves they give the heads' outputs `a u_j`, so that only what follows attention runs.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.layer.layer import Layer
from ligflow.method.attention import attention_weights
from ligflow.paths.after_attention import finish, pull_back
from ligflow.paths.batch import alone
from ligflow.routes.workspace import Selection


def attention_attribution(
    layer: Layer, tokens: Selection, points: int = 20
) -> Float[Tensor, "target source"]:
    """`sum_h A_jk^h int_0^1 dL_j/dA_jk^h (a A) da`, by that many points of Gauss and Legendre [hao2021].

    `L_j = <z'_j - z'_j(0), d_j>`, with d_j the direction from the output without attention, `z'_j(0)`, to
    the output: rows sum to `||z'_j - z'_j(0)||`.
    """
    batch, targets = alone(layer), tokens.targets
    with torch.no_grad():
        seen = layer.capture(layer.hidden[None])
        p = attention_weights(seen.query, seen.key, seen.form).p[0][:, targets]
        value = seen.value[0].repeat_interleave(len(p) // seen.value.shape[1], dim=0)
        u = (p @ value).transpose(0, 1)
        ends = finish(batch, *_at(layer, tokens, u, u.new_tensor([0.0, 1.0])), targets)[:, :, 0]
    step = ends[1] - ends[0]
    direction = step / step.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(step.dtype).tiny)
    nodes, weights = (u.new_tensor(part) for part in np.polynomial.legendre.leggauss(points))
    hidden, grown = _at(layer, tokens, u, (nodes + 1) / 2)
    towards = direction[:, None].expand(points, -1, -1, -1)
    slope = pull_back(batch, hidden, grown, targets, lambda _image: towards, False)[1][0]
    mean = torch.einsum("n,njhd->jhd", weights / 2, slope)
    return torch.einsum("hjk,hkd,jhd->jk", p, value, mean)[:, tokens.visible]


def _at(layer: Layer, tokens: Selection, u: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """The hidden states of the targets, and their heads at these shares of the weights."""
    hidden = layer.hidden[tokens.targets].expand(len(share), -1, -1)
    return hidden, share[:, None, None, None] * u
