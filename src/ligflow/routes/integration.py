"""z2u, u2z and z2z of one replayed layer, for all targets at once.

Each route is a set-to-set map F along a path, given as two functions: `image(nodes, targets)`, the
values `F_j(x(a))`, and `pull(nodes, targets, cotangent)`, the integrand of every source:

    integrand_k(a) = (x_k - x_k(0)) . dL_j/dx_k,    dL_j/dF_j = cotangent(F_j(x(a)))
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ligflow.devices.blocks import default_budget, in_blocks
from ligflow.layer.interface import plain
from ligflow.method.baselines import Start, own_path
from ligflow.method.quadrature import MAX_NODES, Integral, integrate
from ligflow.method.scalarization import Direction, Scalarization, cotangent, natural_scale, total
from ligflow.paths.after_attention import Cotangent, finish, pull_back
from ligflow.paths.attention_path import AttentionPath
from ligflow.paths.batch import LayerBatch
from ligflow.paths.cross_attention import (
    CrossPath,
    GivenCrossAttention,
    MovingCrossAttention,
    attended,
    pulled,
)
from ligflow.routes.path_map import KEPT, Attribution, PathMap, Players, with_self

ORIGIN = 1e-6
_ROUNDING = 100  # machine epsilons of F: what comes back to its start by less has not moved
_FAR = 0.03  # of the layer's size: what is so far from F(0) does not feel rounding


def attribute(
    route: PathMap,
    targets: Int[Tensor, " target"],
    scalarization: Scalarization,
    quadrature: str = "adaptive",
    tol: float = 1e-3,
    max_nodes: int = MAX_NODES,
    memory_budget: int | None = None,
    sentence: Int[Tensor, " target"] | None = None,
    first: Float[Tensor, "target scalar dim"] | None = None,
    floor: Float[Tensor, "target scalar"] | None = None,
) -> Attribution:
    """Integrates a route: `IG_kj = (x_k - x_k(0)) . ∫ dL_j/dx_k da` ([suzuki2026], section 3).

    `sentence` says which targets belong together, where there are several sentences; `first` is F at
    the start of the path, where it is known, and `floor` the size under which a total is rounding, where
    that is not to be found from these targets. `memory_budget` is in bytes; under `route.least_budget`
    it is passed over.
    """
    budget = memory_budget or default_budget(targets.device)
    first, last = _ends(route, targets, first, budget)
    rounding = _ROUNDING * torch.finfo(last.dtype).eps * last.norm(dim=-1, keepdim=True)
    end = _unless_rounding(last - first, rounding)
    kind = _for_targets(scalarization, end)
    floor = floor_of(last, sentence) if floor is None else floor.to(end)
    scale = natural_scale(kind, end).clamp(min=floor)
    known = total(kind, end)
    pairs = _pairs(route, budget)

    def pull(nodes: Tensor, rows: Tensor) -> Tensor:
        own, began = _rows(kind, rows), nodes[:, None, None, None] == 0
        stays = torch.where((end[rows] == 0).all(-1, keepdim=True), rounding[rows], 0)

        def towards(value: Tensor) -> Tensor:
            moved = torch.where(began, 0, value - first[rows])  # at a = 0 not even rounding moves
            return cotangent(own, _unless_rounding(moved, stays), end[rows])

        return route.pull(nodes, targets[rows], towards)

    def some(rows: Tensor) -> Integral:
        def integrand(nodes: Tensor, chosen: Tensor) -> Tensor:
            return in_blocks(pull, nodes, rows[chosen], pairs)

        return integrate(integrand, known[rows], scale[rows], quadrature, tol, max_nodes)

    everyone = torch.arange(len(targets), device=targets.device)
    result = _joined([some(rows) for rows in everyone.split(max(1, budget // 2 // route.kept))])
    origin = _origin(route, targets, kind, first, end, result.divided, pairs) / scale
    return Attribution(
        result.value, known, scale, result.error / scale, origin, result.met, result.nodes, floor
    )


def _unless_rounding(moved: Tensor, limit: Tensor) -> Tensor:
    """0 where F moved by no more than the limit: the direction of rounding is none."""
    return torch.where(moved.norm(dim=-1, keepdim=True) <= limit, 0, moved)


def image_at(
    route: PathMap, node: float, targets: Int[Tensor, " target"], memory_budget: int | None = None
) -> Float[Tensor, "target scalar dim"]:
    """F at one point of the path."""
    return _image_at(route, node, targets, memory_budget or default_budget(targets.device))


def _ends(
    route: PathMap, targets: Tensor, first: Tensor | None, budget: int
) -> tuple[Float[Tensor, "target scalar dim"], Float[Tensor, "target scalar dim"]]:
    """F at both ends: the last as recorded where it moved by far more than rounding.

    Elsewhere both are computed by calls of the same shape, so that what stays, stays exactly.
    """
    if route.recorded is None:
        return _image_at(route, 0.0, targets, budget), _image_at(route, 1.0, targets, budget)
    first = _image_at(route, 0.0, targets, budget) if first is None else first
    last = route.recorded(targets)
    size = last.norm(dim=-1).square().mean(dim=0).sqrt()
    near = ((last - first).norm(dim=-1) <= _FAR * size).any(-1).nonzero()[:, 0]
    if not len(near):
        return first, last
    starts, ends = (_image_at(route, node, targets[near], budget) for node in (0.0, 1.0))
    return first.index_copy(0, near, starts), last.index_copy(0, near, ends)


def _image_at(
    route: PathMap, node: float, targets: Tensor, budget: int
) -> Float[Tensor, "target scalar dim"]:
    at = torch.full((1,), node, dtype=torch.float32, device=targets.device)
    return in_blocks(route.image, at, targets, _pairs(route, budget))[0]


def _pairs(route: PathMap, budget: int) -> int:
    """How many (node, row) pairs half of the budget holds."""
    return route.pairs(budget)


def _joined(parts: list[Integral]) -> Integral:
    """Integrals of some targets after those of others."""
    if len(parts) == 1:
        return parts[0]
    return Integral(*(torch.cat(columns) for columns in zip(*(vars(p).values() for p in parts), strict=True)))


def _origin(
    route: PathMap,
    targets: Tensor,
    kind: Scalarization,
    first: Tensor,
    end: Tensor,
    divided: Bool[Tensor, " target"],
    pairs: int,
) -> Float[Tensor, "target scalar"]:
    """L at a = 1e-6. Where the integral converged without a division it is on the line to L(1)."""
    found = ORIGIN * total(kind, end)
    rows = divided.nonzero()[:, 0]
    if len(rows):
        at = torch.tensor([ORIGIN], dtype=torch.float32, device=targets.device)
        near = in_blocks(route.image, at, targets[rows], pairs)[0] - first[rows]
        found[rows] = (cotangent(_rows(kind, rows), near, end[rows]) * near).sum(-1)
    return found


def floor_of(
    image: Float[Tensor, "target scalar dim"], sentence: Int[Tensor, " target"] | None
) -> Float[Tensor, "target scalar"]:
    """1000 machine epsilons of the layer's own size (root mean square norm over a sentence's targets)."""
    square = image.square().sum(-1)
    if sentence is None:
        sentence = torch.zeros(len(square), dtype=torch.long, device=square.device)
    _, line, count = sentence.unique_consecutive(return_inverse=True, return_counts=True)
    sums = square.new_zeros(len(count), square.shape[1]).index_add_(0, line, square)
    size = (sums / count[:, None]).sqrt()[line]
    return (1000 * torch.finfo(image.dtype).eps * size).clamp(min=torch.finfo(image.dtype).tiny)


def _for_targets(scalarization: Scalarization, end: Float[Tensor, "target scalar dim"]) -> Scalarization:
    if not isinstance(scalarization, Direction):
        return scalarization
    return Direction(scalarization.vector.to(end).expand_as(end))


def _rows(scalarization: Scalarization, rows: Int[Tensor, " row"]) -> Scalarization:
    return Direction(scalarization.vector[rows]) if isinstance(scalarization, Direction) else scalarization


# --- the three routes -----------------------------------------------------------------------------


def z2u(path: AttentionPath) -> PathMap:
    """Attention alone: `{z_k} -> u_j^h`, one scalar a head; sources are tokens."""

    def image(nodes: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            return path.at(nodes, rows)

    def pull(nodes: Tensor, rows: Tensor, towards: Cotangent) -> Tensor:
        with torch.no_grad():
            here = path.moving(nodes, rows)
            sources, own = here.gates(towards(here.u))
            return with_self(sources, own, path.sentences.columns(rows))

    tokens, size = path.sentences.tokens, path.sentences.z.element_size()
    return PathMap(image, pull, size * path.cost, size * KEPT * path.heads * tokens)


def e2u(path: CrossPath) -> PathMap:
    """A decoder's second attention: `{e_m} -> u_j^h`, its queries held; sources are the encoder's tokens."""

    def image(nodes: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            return attended(path, nodes.to(path.start), rows)

    def pull(nodes: Tensor, rows: Tensor, towards: Cotangent) -> Tensor:
        with torch.no_grad():
            return pulled(path, nodes, rows, towards)

    heads, size = path.query.shape[1], path.start.element_size()
    cost = heads * (12 * path.tokens + 8 * path.query.shape[3])
    return PathMap(image, pull, size * cost, size * KEPT * heads * path.tokens)


def u2z(sentences: LayerBatch, players: Players) -> PathMap:
    """All that follows attention: `{u_j^h}_h, z_j -> z'_j`.

    Sources are the heads, then those of a second attention, then the residual.
    """
    moves = players.residual_start is not None
    residual = Start(sentences.z if players.residual_start is None else players.residual_start, False)
    starts = [players.start, *([players.second_start] if players.second_start is not None else [])]
    ends = [players.end, *([players.second_end] if players.second_end is not None else [])]
    steps = [end - start for start, end in zip(starts, ends, strict=True)]
    z_step = sentences.z - residual.vectors

    def paths(nodes: Tensor, rows: Tensor) -> tuple[Tensor, list[Tensor]]:
        a = nodes.to(z_step)
        moved = [
            start[rows] + a[:, None, None, None] * step[rows]
            for start, step in zip(starts, steps, strict=True)
        ]
        return own_path(residual, sentences.z, a, rows), moved

    def image(nodes: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            hidden, (u, *second) = paths(nodes, rows)
            given = GivenCrossAttention(second[0], rows, sentences.tokens) if second else plain
            return finish(sentences, hidden, u, rows, given)

    def pull(nodes: Tensor, rows: Tensor, towards: Cotangent) -> Tensor:
        hidden, (u, *second) = paths(nodes, rows)
        given = GivenCrossAttention(second[0].requires_grad_(), rows, sentences.tokens) if second else None
        to_hidden, to_us = pull_back(sentences, hidden, u, rows, towards, moves, given)
        found = [(to_u * step[rows]).sum(-1) for to_u, step in zip(to_us, steps, strict=True)]
        own = torch.zeros_like(found[0][..., :1])
        if to_hidden is not None:
            own = (to_hidden * z_step[rows]).sum(-1, keepdim=True)
        return torch.cat([*found, own], dim=-1)[:, :, None]

    size, heads = sentences.z.element_size(), sum(end.shape[1] for end in ends)
    cost, kept = size * sentences.host.cost, size * KEPT * (heads + 1)
    return PathMap(image, pull, cost, kept, sentences.tokens, _recorded(sentences), sentences.places)


def z2z(path: AttentionPath, cross: CrossPath | None = None) -> PathMap:
    """The whole layer `{z_k} -> z'_j`, split at its attention; sources are tokens.

    With a second attention, `{z_k}, {e_m} -> z'_j`: sources are tokens, then those of the encoder.
    """
    sentences, start = path.sentences, path.start

    def image(nodes: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            own = own_path(start, sentences.z, nodes.to(sentences.z), rows)
            second = plain if cross is None else MovingCrossAttention(cross, nodes.to(sentences.z))
            return finish(sentences, own, path.at(nodes, rows), rows, second)

    def pull(nodes: Tensor, rows: Tensor, towards: Cotangent) -> Tensor:
        with torch.no_grad():
            here = path.moving(nodes, rows)
        own = own_path(start, sentences.z, nodes, rows)
        second = None if cross is None else MovingCrossAttention(cross, nodes)
        to_hidden, (to_u, *to_second) = pull_back(
            sentences, own, here.u, rows, towards, not start.per_target, second
        )
        with torch.no_grad():
            sources, through_query = here.gates(to_u)
            sources = sources.sum(dim=2)
            mine = None if through_query is None else through_query.sum(dim=2)
            if to_hidden is not None:
                residual = (to_hidden * (sentences.z - start.vectors)[rows]).sum(-1)
                mine = residual if mine is None else mine + residual
            sources = with_self(sources, mine, sentences.columns(rows))
            if second is not None:
                sources = torch.cat([sources, second.sources(*to_second)[:, rows]], dim=-1)
            return sources[:, :, None]

    size, tokens = sentences.z.element_size(), sentences.tokens
    cost, more = size * (path.cost + sentences.host.cost), 0 if cross is None else cross.tokens
    kept = size * KEPT * (tokens + more)
    return PathMap(image, pull, cost, kept, tokens, _recorded(sentences), sentences.places)


def _recorded(sentences: LayerBatch) -> Callable[[Tensor], Tensor] | None:
    """z' as the model computed it, if replays repeat it to rounding."""
    if not all(layer.repeats for layer in sentences.layers):
        return None
    output = sentences.output()
    return lambda rows: output[rows][:, None]
