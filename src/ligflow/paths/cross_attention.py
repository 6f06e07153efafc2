"""The second attention of a decoder's layer, to the tokens e_m of an encoder (its memory).

Keys and values are those of the memory, queries those of the layer's own tokens. A path moves the whole
memory from e(0) to e, for all targets alike. At a start that is one vector for every e_m all values are
one, so that u(0) does not depend on the query: composed and direct maps then start at the same point.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.layer.interface import Captured
from ligflow.layer.layer import Layer
from ligflow.method.attention import (
    ScoreTerms,
    Weights,
    attention_output,
    attention_weights,
    score_gradient,
    source_slope,
)
from ligflow.method.attention_parts import attention_parts

_FIT = 1e-5


@dataclass(frozen=True, eq=False)
class MemoryOnPath:
    """Keys and values of the memory at points of its path, and their derivatives along it."""

    key: Float[Tensor, "node group memory dim"]
    value: Float[Tensor, "node group memory value_dim"]
    key_step: Float[Tensor, "#node group memory dim"]
    value_step: Float[Tensor, "#node group memory value_dim"]


@dataclass(frozen=True, eq=False)
class CrossPath:
    """The memory's path in one layer, and the second attention's queries and form on the real input."""

    layer: Layer
    start: Float[Tensor, "memory memory_dim"]
    query: Float[Tensor, "one head token dim"]
    form: ScoreTerms
    at: Callable[[Float[Tensor, " node"]], MemoryOnPath]

    @property
    def tokens(self) -> int:
        """The tokens of the memory."""
        return len(self.start)

    def rows(self, rows: Int[Tensor, " row"], nodes: int) -> tuple[Tensor, ScoreTerms]:
        """Queries and form of some targets, once a point."""
        bias = self.form.bias
        if bias is not None and bias.shape[2] > 1:
            bias = bias[:, :, rows]
        form = ScoreTerms(self.form.scaling, bias, self.form.softcap, self.form.sink)
        return self.query[:, :, rows].expand(nodes, -1, -1, -1), form


def cross_path(layer: Layer, start: Float[Tensor, "memory memory_dim"]) -> CrossPath:
    """The path `e_m(a) = e_m(0) + a (e_m - e_m(0))`, its keys and values in closed form where affine in e."""
    step = layer.encoded - start

    def memory_at(nodes: Tensor) -> Tensor:
        return start + nodes.to(start)[:, None, None] * step

    with torch.no_grad():
        captured = layer.capture_second(memory_at(start.new_tensor([0.0, 0.5, 1.0])))

    def by_capture(nodes: Tensor) -> MemoryOnPath:
        path = layer.capture_second_path(memory_at(nodes), step.expand(len(nodes), -1, -1))
        return MemoryOnPath(path.at.key, path.at.value, path.key_step, path.value_step)

    straight = _is_straight(captured.key) and _is_straight(captured.value)
    at = _straight(captured) if straight else by_capture
    return CrossPath(layer, start, captured.query[-1:], captured.form, at)


def _is_straight(ends: Float[Tensor, "three group memory dim"]) -> bool:
    bend = ends[1] - (ends[0] + ends[2]) / 2
    exact = torch.finfo(ends.dtype).eps * 1e4 if ends.dtype == torch.float64 else _FIT
    return float(bend.norm()) <= exact * float(ends.norm())


def _straight(ends: Captured) -> Callable[[Tensor], MemoryOnPath]:
    key_step, value_step = (ends.key[2:] - ends.key[:1]), (ends.value[2:] - ends.value[:1])

    def at(nodes: Tensor) -> MemoryOnPath:
        a = nodes.to(key_step)[:, None, None, None]
        return MemoryOnPath(
            ends.key[:1] + a * key_step, ends.value[:1] + a * value_step, key_step, value_step
        )

    return at


class MovingCrossAttention:
    """The second attention inside a replayed layer, at points of the memory's path: one a batch element.

    After the replay `u` is what it gave, in the graph of autograd, and `source_integrands` turns `dL/du` into
    the integrands of the memory's tokens.
    """

    def __init__(self, path: CrossPath, nodes: Float[Tensor, " node"]) -> None:
        self.memory = path.at(nodes)
        self.u: Tensor | None = None

    def __call__(self, captured: Captured) -> Tensor:
        """u, with the queries that the layer makes at these points."""
        self.captured = captured
        self.weights = attention_weights(captured.query, self.memory.key, captured.form)
        self.u = attention_output(self.weights, self.memory.value)
        if not self.u.requires_grad:  # queries that nothing moves, e.g. beside the first attention
            self.u.requires_grad_()
        return self.u

    def source_integrands(
        self, to_u: Float[Tensor, "node head token value_dim"]
    ) -> Float[Tensor, "node token memory"]:
        """`dL/dt_m`, summed over heads."""
        return self.head_integrands(to_u).sum(dim=1)

    def head_integrands(
        self, to_u: Float[Tensor, "node head token value_dim"]
    ) -> Float[Tensor, "node head token memory"]:
        """`dL/dt_m` by head."""
        query = self.captured.query.detach()
        return _slopes(self.weights, to_u, query, self.memory, self.captured.form.scaling)


class GivenCrossAttention:
    """A second attention that gives u as it is handed in, to the targets `rows` of `tokens` tokens."""

    def __init__(self, u: Float[Tensor, "node row head value_dim"], rows: Tensor, tokens: int) -> None:
        self.u: Tensor | None = u
        self._whole = u
        if len(rows) != tokens:
            self._whole = u.new_zeros(len(u), tokens, *u.shape[2:]).index_copy(1, rows, u)

    def __call__(self, _captured: Captured) -> Tensor:
        """u, as the attention function returns it."""
        return self._whole.transpose(1, 2)


def _slopes(weights: Weights, to_u: Tensor, query: Tensor, memory: MemoryOnPath, scaling: float) -> Tensor:
    weights = Weights(weights.p.detach(), None if weights.slope is None else weights.slope.detach())
    grad = score_gradient(weights, to_u, memory.value, scaling)
    steps = (step.expand(len(query), -1, -1, -1) for step in (memory.key_step, memory.value_step))
    return source_slope(weights, grad, to_u, query, *steps)


def cross_image(
    path: CrossPath, nodes: Float[Tensor, " node"], rows: Int[Tensor, " row"]
) -> Float[Tensor, "node row head value_dim"]:
    """u of the second attention at points of the memory's path, `u_j(a) = sum_m p_jm(a) V_m(a)`.

    The targets' queries are as they are.
    """
    query, form = path.rows(rows, len(nodes))
    memory = path.at(nodes)
    return attention_output(attention_weights(query, memory.key, form), memory.value).transpose(1, 2)


def cross_pullback(
    path: CrossPath,
    nodes: Float[Tensor, " node"],
    rows: Int[Tensor, " row"],
    towards: Callable[[Tensor], Tensor],
) -> Float[Tensor, "node row head memory"]:
    """The integrands `(e_m - e_m(0)) . dL/de_m` of the memory's tokens for scalars of u.

    `towards` gives the cotangent `dL/du` at u; the targets' queries are as they are.
    """
    query, form = path.rows(rows, len(nodes))
    memory = path.at(nodes)
    weights = attention_weights(query, memory.key, form)
    to_u = towards(attention_output(weights, memory.value).transpose(1, 2)).transpose(1, 2)
    return _slopes(weights, to_u, query, memory, form.scaling).transpose(1, 2)


def cross_part_integrands(
    path: CrossPath,
    nodes: Float[Tensor, " node"],
    rows: Int[Tensor, " row"],
    towards: Callable[[Tensor], Tensor],
) -> Float[Tensor, "all node row head memory"]:
    """The same by value and key, with 0 for the queries, which stay, and the keys' common move."""
    query, form = path.rows(rows, len(nodes))
    memory = path.at(nodes)
    weights = attention_weights(query, memory.key, form)
    to_u = towards(attention_output(weights, memory.value).transpose(1, 2)).transpose(1, 2)
    key_step, value_step = (
        step.expand(len(nodes), -1, -1, -1) for step in (memory.key_step, memory.value_step)
    )
    steps = torch.zeros_like(query), key_step, value_step
    parts = attention_parts(weights, to_u, query, memory.key, memory.value, steps, form.scaling)
    return parts.every.transpose(2, 3)
