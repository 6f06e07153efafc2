"""z2u, u2z and z2z of one replayed layer, for all targets at once.

Each route is a set-to-set map F along a path, given as two functions: `image(nodes, targets)`, the
values `F_j(x(a))`, and `pull(nodes, targets, cotangent)`, the integrand of every source:

    integrand_k(a) = (x_k - x_k(0)) . dL_j/dx_k,    dL_j/dF_j = cotangent(F_j(x(a)))
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ligflow.attention import Form, Weights, mix, query_slope, score_gradient, source_slope, weigh
from ligflow.baselines import Start, own_path, source_paths
from ligflow.quadrature import MAX_NODES, integrate
from ligflow.replay import Captured, Layer, Path
from ligflow.scalarize import Direction, Scalarization, cotangent, natural_scale, total

ORIGIN = 1e-6
_BLOCK_ELEMENTS = 2**25  # numbers held at once for one block of path points: 128 MiB in float32

Cotangent = Callable[[Float[Tensor, "node target scalar dim"]], Float[Tensor, "node target scalar dim"]]
Image = Callable[[Float[Tensor, " node"], Int[Tensor, " target"]], Float[Tensor, "node target scalar dim"]]
Pull = Callable[
    [Float[Tensor, " node"], Int[Tensor, " target"], Cotangent], Float[Tensor, "node target scalar source"]
]


@dataclass(frozen=True, eq=False)
class Map:
    """A map F along a path; `cost` is how many numbers one (node, target) pair keeps in memory."""

    image: Image
    pull: Pull
    cost: int


@dataclass(frozen=True, eq=False)
class Attribution:
    """Attributions of one route of one layer.

    `total` is `L_j(1) - L_j(0)`, `scale` what errors are relative to, `error` the estimated L1 error
    of a row over `scale`, `origin` what L has reached at a = 1e-6 over `scale`, `floor` the size under
    which a total is rounding, `flips` the rows whose signs a ratio correction turned.
    """

    value: Float[Tensor, "target scalar source"]
    total: Float[Tensor, "target scalar"]
    scale: Float[Tensor, "target scalar"]
    error: Float[Tensor, "target scalar"]
    origin: Float[Tensor, "target scalar"]
    met: Bool[Tensor, "target scalar"]
    nodes: Int[Tensor, " target"]
    floor: Float[Tensor, " scalar"]
    flips: int = 0


def attribute(
    route: Map,
    targets: Int[Tensor, " target"],
    scalarization: Scalarization,
    quadrature: str = "adaptive",
    tol: float = 1e-3,
    max_nodes: int = MAX_NODES,
) -> Attribution:
    """Integrates a route: `IG_kj = (x_k - x_k(0)) . ∫ dL_j/dx_k da` (Suzuki et al. 2026, section 3)."""
    everyone = torch.arange(len(targets), device=targets.device)

    def image(nodes: Tensor, rows: Tensor) -> Tensor:
        return route.image(nodes, targets[rows])

    ends = _in_blocks(image, torch.tensor([0.0, 1.0, ORIGIN], device=targets.device), everyone, route.cost)
    first, end, near = ends[0], ends[1] - ends[0], ends[2] - ends[0]
    kind = _for_targets(scalarization, end)
    floor = _floor(ends[1])
    scale = natural_scale(kind, end).clamp(min=floor)

    def pull(nodes: Tensor, rows: Tensor) -> Tensor:
        own, began = _rows(kind, rows), nodes[:, None, None, None] == 0

        def towards(value: Tensor) -> Tensor:
            moved = torch.where(began, 0, value - first[rows])  # at a = 0 not even rounding moves
            return cotangent(own, moved, end[rows])

        return route.pull(nodes, targets[rows], towards)

    def integrand(nodes: Tensor, rows: Tensor) -> Tensor:
        return _in_blocks(pull, nodes, rows, route.cost)

    known = total(kind, end)
    result = integrate(integrand, known, scale, quadrature, tol, max_nodes)
    origin = (cotangent(kind, near, end) * near).sum(-1) / scale
    return Attribution(
        result.value, known, scale, result.error / scale, origin, result.met, result.nodes, floor
    )


def _floor(image: Float[Tensor, "target scalar dim"]) -> Float[Tensor, " scalar"]:
    """1000 machine epsilons of the layer's own size (root mean square norm over its targets)."""
    size = image.norm(dim=-1).square().mean(dim=0).sqrt()
    return (1000 * torch.finfo(image.dtype).eps * size).clamp(min=torch.finfo(image.dtype).tiny)


def _for_targets(scalarization: Scalarization, end: Float[Tensor, "target scalar dim"]) -> Scalarization:
    if not isinstance(scalarization, Direction):
        return scalarization
    return Direction(scalarization.vector.to(end).expand_as(end))


def _rows(scalarization: Scalarization, rows: Int[Tensor, " row"]) -> Scalarization:
    return Direction(scalarization.vector[rows]) if isinstance(scalarization, Direction) else scalarization


def _in_blocks(
    compute: Callable[[Tensor, Tensor], Tensor], nodes: Tensor, rows: Tensor, cost: int
) -> Float[Tensor, "node target scalar last"]:
    """`compute(nodes, rows)` piece by piece, so that no more than a block is in memory."""
    pairs = max(1, _BLOCK_ELEMENTS // cost)
    some_rows = rows.split(min(len(rows), pairs))
    some_nodes = nodes.split(max(1, pairs // len(some_rows[0])))
    return torch.cat([torch.cat([compute(n, r) for r in some_rows], dim=1) for n in some_nodes])


# --- the three routes -----------------------------------------------------------------------------


def z2u(layer: Layer, start: Start) -> Map:
    """Attention alone: `{z_k} -> u_j^h`, one scalar a head; sources are tokens."""

    def image(nodes: Tensor, targets: Tensor) -> Tensor:
        streams = _streams(layer, start, nodes, targets)
        return streams.pairs(mix(weigh(streams.query, streams.key, streams.form), streams.value))

    def pull(nodes: Tensor, targets: Tensor, towards: Cotangent) -> Tensor:
        streams = _moving_streams(layer, start, nodes, targets)
        weights = weigh(streams.query, streams.key, streams.form)
        u = streams.pairs(mix(weights, streams.value))
        return _gates(streams, weights, towards(u), targets)

    return Map(image, pull, _attention_cost(layer, start))


def u2z(
    layer: Layer,
    u_start: Float[Tensor, "token head value_dim"],
    residual_start: Float[Tensor, "token dim"],
) -> Map:
    """All that follows attention: `{u_j^h}_h, z_j -> z'_j`; sources are the heads, then the residual."""
    with torch.no_grad():
        u_end = layer.attend(layer.hidden[None])[0]
    residual = Start(residual_start, per_target=False)
    u_step, z_step = u_end - u_start, layer.hidden - residual_start

    def paths(nodes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        u = u_start[targets] + nodes[:, None, None, None] * u_step[targets]
        return own_path(residual, layer.hidden, nodes, targets), u

    def image(nodes: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            return _finish(layer, *paths(nodes, targets), targets)

    def pull(nodes: Tensor, targets: Tensor, towards: Cotangent) -> Tensor:
        hidden, u = paths(nodes, targets)
        to_hidden, to_u = _pull_back(layer, hidden, u, targets, towards)
        heads = (to_u * u_step[targets]).sum(-1)
        own = (to_hidden * z_step[targets]).sum(-1, keepdim=True)
        return torch.cat([heads, own], dim=-1)[:, :, None]

    return Map(image, pull, _finish_cost(layer))


def z2z(layer: Layer, start: Start) -> Map:
    """The whole layer `{z_k} -> z'_j`, split at its attention; sources are tokens."""

    def image(nodes: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            streams = _streams(layer, start, nodes, targets)
            u = streams.pairs(mix(weigh(streams.query, streams.key, streams.form), streams.value))
            return _finish(layer, own_path(start, layer.hidden, nodes, targets), u, targets)

    def pull(nodes: Tensor, targets: Tensor, towards: Cotangent) -> Tensor:
        streams = _moving_streams(layer, start, nodes, targets)
        weights = weigh(streams.query, streams.key, streams.form)
        u = streams.pairs(mix(weights, streams.value))
        own = own_path(start, layer.hidden, nodes, targets)
        to_hidden, to_u = _pull_back(layer, own, u, targets, towards)
        sources = _gates(streams, weights, to_u, targets).sum(dim=2)
        if not start.per_target:
            step = (layer.hidden - start.vectors)[targets]
            _add_to_self(sources, (to_hidden * step).sum(-1), targets)
        return sources[:, :, None]

    return Map(image, pull, _attention_cost(layer, start) + _finish_cost(layer))


# --- attention along a path -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Streams:
    """Queries of the targets, keys and values of the sources, at points of a path.

    Batches are nodes with a row a target (shared start), or (node, target) with one row (`itb`).
    """

    query: Float[Tensor, "batch head row dim"]
    key: Float[Tensor, "batch group source dim"]
    value: Float[Tensor, "batch group source value_dim"]
    form: Form
    nodes: int
    path: Path | None = None
    query_step: Float[Tensor, "batch head row dim"] | None = None

    def pairs(self, rows: Float[Tensor, "batch head row last"]) -> Float[Tensor, "node target head last"]:
        return rows.transpose(1, 2).flatten(0, 1).unflatten(0, (self.nodes, -1))

    def rows(self, pairs: Float[Tensor, "node target head last"]) -> Float[Tensor, "batch head row last"]:
        return pairs.flatten(0, 1).unflatten(0, (len(self.query), -1)).transpose(1, 2)


def _streams(layer: Layer, start: Start, nodes: Tensor, targets: Tensor) -> _Streams:
    with torch.no_grad():
        hidden, _ = source_paths(start, layer.hidden, nodes.to(layer.hidden), targets)
        seen = layer.capture(hidden)
    query = _target_rows(seen.query, start, targets)
    return _Streams(query, seen.key, seen.value, _target_form(seen, start, targets, len(nodes)), len(nodes))


def _moving_streams(layer: Layer, start: Start, nodes: Tensor, targets: Tensor) -> _Streams:
    path = layer.capture_path(*source_paths(start, layer.hidden, nodes, targets))
    seen, form = path.at, _target_form(path.at, start, targets, len(nodes))
    query, query_step = (_target_rows(q, start, targets) for q in (seen.query, path.query_step))
    return _Streams(query, seen.key, seen.value, form, len(nodes), path, query_step)


def _target_rows(
    query: Float[Tensor, "batch head token dim"], start: Start, targets: Tensor
) -> Float[Tensor, "batch head row dim"]:
    """The targets' own queries: every path holds all targets, or (`itb`) the one it belongs to."""
    if not start.per_target:
        return query[:, :, targets]
    own = targets.repeat(len(query) // len(targets))
    return query[torch.arange(len(query), device=query.device), :, own][:, :, None]


def _target_form(seen: Captured, start: Start, targets: Tensor, nodes: int) -> Form:
    if seen.form.bias is None:
        return seen.form
    bias = seen.form.bias[:1].expand(-1, -1, seen.query.shape[2], -1)[:, :, targets]
    if start.per_target:
        bias = bias.permute(2, 1, 0, 3).repeat(nodes, 1, 1, 1)
    return replace(seen.form, bias=bias)


def _gates(
    streams: _Streams,
    weights: Weights,
    to_u: Float[Tensor, "node target head value_dim"],
    targets: Int[Tensor, " target"],
) -> Float[Tensor, "node target head source"]:
    """The integrand of every source through keys and values, and of the target through its query."""
    path, query_step = streams.path, streams.query_step
    assert path is not None
    assert query_step is not None
    to_rows = streams.rows(to_u)
    grad = score_gradient(weights, to_rows, streams.value, streams.form.scaling)
    slope = source_slope(weights, grad, to_rows, streams.query, path.key_step, path.value_step)
    sources = streams.pairs(slope)
    own = streams.pairs(query_slope(grad, query_step, streams.key)[..., None])[..., 0]
    _add_to_self(sources, own, targets)
    return sources


def _add_to_self(
    sources: Float[Tensor, "node target *head source"],
    own: Float[Tensor, "node target *head"],
    targets: Int[Tensor, " target"],
) -> None:
    """Adds what moves with the target's own stream to its diagonal, in place."""
    shape = (1, len(targets)) + (1,) * (sources.ndim - 2)
    index = targets.reshape(shape).expand(*sources.shape[:-1], 1)
    sources.scatter_add_(-1, index, own[..., None])


# --- after attention ------------------------------------------------------------------------------


def _finish(
    layer: Layer,
    hidden: Float[Tensor, "node target dim"],
    u: Float[Tensor, "node target head value_dim"],
    targets: Int[Tensor, " target"],
) -> Float[Tensor, "node target one dim"]:
    """z'_j of every pair, each in its own token's column, since layers may know positions."""
    tokens = len(layer.hidden)
    if len(targets) == tokens:
        whole, parts = hidden, u
    else:
        whole = layer.hidden.expand(len(hidden), -1, -1).index_copy(1, targets, hidden)
        parts = u.new_zeros(len(u), tokens, *u.shape[2:]).index_copy(1, targets, u)
    return layer.finish(whole, parts)[:, targets][:, :, None]


def _pull_back(
    layer: Layer,
    hidden: Float[Tensor, "node target dim"],
    u: Float[Tensor, "node target head value_dim"],
    targets: Int[Tensor, " target"],
    towards: Cotangent,
) -> tuple[Float[Tensor, "node target dim"], Float[Tensor, "node target head value_dim"]]:
    """`dL/dz_j` (all but attention) and `dL/du_j`: one forward and one backward for all pairs."""
    leaves = [hidden.detach().requires_grad_(), u.detach().requires_grad_()]
    with torch.enable_grad():
        image = _finish(layer, leaves[0], leaves[1], targets)
    pull = towards(image.detach())
    to_hidden, to_u = torch.autograd.grad(image, leaves, pull, materialize_grads=True)
    return to_hidden, to_u


def _attention_cost(layer: Layer, start: Start) -> int:
    tokens, dim = layer.hidden.shape
    return tokens * dim * (16 if start.per_target else 1) + 8 * tokens * 16


def _finish_cost(layer: Layer) -> int:
    return 40 * layer.hidden.shape[1]
