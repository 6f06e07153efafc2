"""The oracle of edges by value, key and query: by hand at the unmodified model's own attention function.

At Gauss-Legendre points of a segment's path the model's forward gives queries, keys and values, and their
derivatives along the path. The model's own eager attention function, given these, is then differentiated:
through values alone by a gradient for every head and target, and its *weights* along the keys' motion alone
and along the queries' alone. What a motion of keys does to the weights holds no shift common to all of them.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from ligflow.layer.float64 import keep_double
from prediction.oracle import OracleResult, Program, Score, forward, held

_NAME = "oracle of parts"


@dataclass(frozen=True)
class _Given:
    """What the attention function is given at points of a path, with derivatives along it."""

    module: nn.Module
    projections: tuple[Tensor, Tensor, Tensor]
    steps: tuple[Tensor, Tensor, Tensor]
    mask: Any
    form: dict[str, Any]

    def eager(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The model's own: `u [point, token, head, dim]`, and weights `[point, head, token, token]`."""
        own = sys.modules[type(self.module).__module__].eager_attention_forward
        result: tuple[Tensor, Tensor] = own(self.module, query, key, value, self.mask, **self.form)
        return result

    def weights_along(self, which: int) -> Tensor:
        """The derivative of the weights along the motion of one projection alone."""

        def weights(moved: Tensor) -> Tensor:
            every = list(self.projections)
            every[which] = moved
            return self.eager(*every)[1]

        return torch.func.jvp(weights, (self.projections[which],), (self.steps[which],))[1]


class _Caught(Exception):
    """Ends the model's forward at an attention."""


def parts_by_hand(
    program: Program,
    model: Any,
    inputs: Mapping[str, Tensor],
    score: Score,
    result: OracleResult,
    image: str,
    points: int = 32,
) -> Float[Tensor, "part head target source"]:
    """Value, key and query parts of what the heads of the attention that gives `image` read."""
    model.eval().requires_grad_(False)
    heads = [name for name, v in program.variables.items() if v.node and "heads" in v.node[0]]
    with keep_double(), held(model, program, inputs):
        nodes, weights = (torch.from_numpy(each) / 2 for each in np.polynomial.legendre.leggauss(points))
        given = _given(program, model, inputs, score, result, image, heads.index(image), nodes + 0.5)
        pull = result.directions[image].unflatten(-1, (given.projections[0].shape[1], -1))
        with torch.no_grad():
            every = torch.stack([_read(given, pull), *_looked(given, pull)])
    return (every * weights.reshape(1, -1, 1, 1, 1)).sum(1)


def _given(
    program: Program,
    model: Any,
    inputs: Any,
    score: Score,
    result: OracleResult,
    image: str,
    call: int,
    nodes: Tensor,
) -> _Given:
    segment = next(each for each in program.segments if image in each.targets)
    sources = [program.variables[name] for name in segment.sources]
    _, real = forward(model, inputs, score, {}, [source.read for source in sources])
    with _caught(model, call) as caught, forward_ad.dual_level(), torch.no_grad():
        put = {}
        for source in sources:
            end, step = real[source.read][0], result.changes[source.name]
            along = (nodes - 1).reshape(-1, *[1] * step.ndim)
            put[source.entry] = forward_ad.make_dual(
                end + along * step, step.expand(len(nodes), *step.shape).clone()
            )
        silent = [place for source in sources for place in source.silent]
        try:
            forward(model, inputs, score, put, [], silent)
        except _Caught:
            module, projections, mask, form = caught[0]
        pairs = [forward_ad.unpack_dual(each) for each in projections]
    values = tuple(primal for primal, _ in pairs)
    steps = tuple(torch.zeros_like(primal) if step is None else step for primal, step in pairs)
    return _Given(module, values, steps, mask, form)


@contextmanager
def _caught(model: Any, number: int) -> Iterator[list[Any]]:
    """What the attention function is given in one of its calls."""
    calls: list[Any] = []
    caught: list[Any] = []

    def attention(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **form: Any
    ) -> Any:
        calls.append(module)
        if len(calls) == number + 1:
            caught.append((module, (query, key, value), mask, form))
            raise _Caught
        own = sys.modules[type(module).__module__].eager_attention_forward
        return own(module, query, key, value, mask, **form)

    AttentionInterface.register(_NAME, attention)
    AttentionMaskInterface.register(_NAME, eager_mask)
    own = model.config._attn_implementation
    model.set_attn_implementation(_NAME)
    try:
        yield caught
    finally:
        model.set_attn_implementation(own)


def _read(given: _Given, pull: Tensor) -> Float[Tensor, "point head target source"]:
    """`∂(g.u_j)/∂v_k . v'_k`, a gradient for every head and target."""
    query, key, value = given.projections
    heads, tokens = query.shape[1:3]
    parts = value.new_zeros(len(query), heads, tokens, value.shape[2])
    with torch.enable_grad():
        leaf = value.clone().requires_grad_()
        u = given.eager(query, key, leaf)[0]
        for head in range(heads):
            for target in range(tokens):
                scalar = (u[:, target, head] @ pull[target, head]).sum()
                (grad,) = torch.autograd.grad(scalar, leaf, retain_graph=True)
                parts[:, head, target] = (grad * given.steps[2]).sum((1, 3))
    return parts


def _looked(given: _Given, pull: Tensor) -> tuple[Tensor, Tensor]:
    """`(x_k - <x>) dp_jk` by the motion of keys, and of queries, x = g.v; and what moves against a sink."""
    query, _, value = given.projections
    p = given.eager(*given.projections)[1]
    x = torch.einsum("jhd,phkd->phjk", pull, value.repeat_interleave(query.shape[1] // value.shape[1], 1))
    mass = p.sum(-1, keepdim=True)
    middle = (p * x).sum(-1, keepdim=True) / mass
    parts = []
    for which in (1, 0):
        change = given.weights_along(which)
        moved = torch.where(p > 0, change / p, 0)  # of scores, up to a shift of all
        if float((1 - mass).abs().max()) > 1e-9:  # a sink, whose score stays
            moved = moved + change.sum(-1, keepdim=True) / (1 - mass)
        shift = (p * moved).sum(-1, keepdim=True) / mass
        parts.append(p * (x - middle) * (moved - shift) + (1 - mass) * p * middle * moved)
    return parts[0], parts[1]
