"""Integration of a map along its path: integrated gradients of every target, with their certificate.

For sources x_k that go from x_k(0) to x_k, and a scalar L_j of the move of F_j ([suzuki2026], section 3),

    IG_kj = integral over a from 0 to 1 of (x_k - x_k(0)) . dL_j/dx_k     sum_k IG_kj = L_j(1) - L_j(0)

the right side of which is known, so that what the quadrature misses shows ([sundararajan2017], completeness).
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ligflow.devices.blocks import default_budget, in_blocks
from ligflow.method.integral import Integral, Parted, with_sums
from ligflow.method.quadrature import Adaptive, Quadrature
from ligflow.method.scalarization import Scalarization
from ligflow.names import MAX_NODES, TOL
from ligflow.progress import between_points
from ligflow.routes.attribution import Attribution
from ligflow.routes.by_head import head_parts
from ligflow.routes.path_map import PathMap

Ends = tuple[Float[Tensor, "target scalar dim"], Float[Tensor, "target scalar dim"]]  # F(0) and F(1)

ORIGIN = 1e-6
_ROUNDING = 100  # machine epsilons of F: what comes back to its start by less has not moved
_FAR = 0.03  # of the layer's size: what is so far from F(0) does not feel rounding


def attribute(
    route: PathMap,
    targets: Int[Tensor, " target"],
    scalarization: Scalarization,
    quadrature: Quadrature = Adaptive(),
    tol: float = TOL,
    max_nodes: int = MAX_NODES,
    memory_budget: int | None = None,
    sentence: Int[Tensor, " target"] | None = None,
    ends: Ends | None = None,
    floor: Float[Tensor, "target scalar"] | None = None,
) -> Attribution:
    """Integrates a route: `IG_kj = (x_k - x_k(0)) . ∫ dL_j/dx_k da` ([suzuki2026], section 3).

    `sentence` says which targets belong together, where there are several sentences; `ends` is F at
    both ends of the path, where it is known, and `floor` the size under which a total is rounding, where
    that is not to be found from these targets. `memory_budget` is in bytes; under `route.least_budget`
    it is passed over.
    """
    budget = memory_budget or default_budget(targets.device)
    first, last = ends or ends_of(route, targets, budget)
    rounding = _ROUNDING * torch.finfo(last.dtype).eps * last.norm(dim=-1, keepdim=True)
    end = _unless_rounding(last - first, rounding)
    kind = scalarization.like(end)
    floor = floor_of(last, sentence) if floor is None else floor.to(end)
    scale = kind.natural_scale(end).clamp(min=floor)
    known = kind.total(end)
    pairs = route.pairs(budget)

    def pulled_back(nodes: Tensor, rows: Tensor) -> Tensor:
        between_points()
        own, began = kind.of_rows(rows), bool((nodes == 0).any())
        stays = torch.where((end[rows] == 0).all(-1, keepdim=True), rounding[rows], 0)

        def towards(value: Tensor) -> Tensor:
            moved = value - first[rows]
            if began:  # at a = 0 not even rounding moves
                moved = moved * (nodes != 0)[:, None, None, None]
            return own.cotangent(_unless_rounding(moved, stays), end[rows])

        return route.pullback(nodes, targets[rows], towards)

    def integral_of(rows: Tensor) -> Integral:
        def integrand(nodes: Tensor, chosen: Tensor) -> Tensor:
            return in_blocks(pulled_back, nodes, rows[chosen], pairs)

        sums = None if route.axes is None else route.axes.sums
        values = integrand if route.axes is None else Parted(integrand, route.axes.sums, route.axes.looks)
        return with_sums(quadrature.integrate(values, known[rows], scale[rows], tol, max_nodes), sums)

    everyone = torch.arange(len(targets), device=targets.device)
    result = _joined(
        [integral_of(rows) for rows in everyone.split(max(1, budget // 2 // route.target_bytes))]
    )
    origin = _origin(route, targets, kind, first, end, result.divided, pairs) / scale
    heads = None
    if route.axes is not None and result.parts is not None and result.parts_error is not None:
        columns = targets % route.axes.tokens
        heads = head_parts(route.axes, result.parts, result.parts_error / scale, columns)
    return Attribution(
        result.value, known, scale, result.error / scale, origin, result.met, result.nodes, floor, heads=heads
    )


def _unless_rounding(moved: Tensor, limit: Tensor) -> Tensor:
    """0 where F moved by no more than the limit: the direction of rounding is none."""
    far = moved.norm(dim=-1, keepdim=True) > limit
    return moved if bool(far.all()) else moved * far  # many times faster than torch.where


def images_at(
    route: PathMap, nodes: Sequence[float], targets: Int[Tensor, " target"], budget: int
) -> Float[Tensor, "node target scalar dim"]:
    """`F(a)` at points a of the path, for some targets, in blocks of so many bytes."""
    at = torch.tensor(nodes, dtype=torch.float32, device=targets.device)
    return in_blocks(route.image, at, targets, route.pairs(budget))


def ends_of(route: PathMap, targets: Int[Tensor, " target"], budget: int) -> Ends:
    """F at both ends: the last as recorded where it moved by far more than rounding.

    Elsewhere both are computed side by side, so that they differ by no more than rounding where F stays.
    """
    if route.recorded is None:
        first, last = images_at(route, (0.0, 1.0), targets, budget)
        return first, last
    (first,), last = images_at(route, (0.0,), targets, budget), route.recorded(targets)
    size = last.norm(dim=-1).square().mean(dim=0).sqrt()
    near = ((last - first).norm(dim=-1) <= _FAR * size).any(-1).nonzero()[:, 0]
    if not len(near):
        return first, last
    starts, ends = images_at(route, (0.0, 1.0), targets[near], budget)
    return first.index_copy(0, near, starts), last.index_copy(0, near, ends)


def _joined(parts: list[Integral]) -> Integral:
    """Integrals of some targets after those of others."""
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {
        name: None if first is None else torch.cat([vars(part)[name] for part in parts])
        for name, first in vars(parts[0]).items()
    }
    return Integral(**columns)


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
    origin = ORIGIN * kind.total(end)
    rows = divided.nonzero()[:, 0]
    if len(rows):
        at = torch.tensor([ORIGIN], dtype=torch.float32, device=targets.device)
        near = in_blocks(route.image, at, targets[rows], pairs)[0] - first[rows]
        origin[rows] = kind.of_rows(rows).value(near, end[rows])
    return origin


def floor_of(
    image: Float[Tensor, "target scalar dim"], sentence: Int[Tensor, " target"] | None
) -> Float[Tensor, "target scalar"]:
    """`1000 eps sqrt(mean_j ||F_j||^2)`: machine epsilons of the layer's size, over a sentence's targets."""
    square = image.square().sum(-1)
    if sentence is None:
        sentence = torch.zeros(len(square), dtype=torch.long, device=square.device)
    _, line, count = sentence.unique_consecutive(return_inverse=True, return_counts=True)
    sums = square.new_zeros(len(count), square.shape[1]).index_add_(0, line, square)
    size = (sums / count[:, None]).sqrt()[line]
    return (1000 * torch.finfo(image.dtype).eps * size).clamp(min=torch.finfo(image.dtype).tiny)
