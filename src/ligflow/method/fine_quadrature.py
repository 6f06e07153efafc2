"""What the rule `fine` does, without cleverness: equal panels, each halved until its halves agree with it.

Slow, and independent of the adaptive rule: other nodes (Gauss-Legendre), no estimate by the pace of
convergence, and no witness. The known sum decides one thing: where it fails, the origin is looked at
decade by decade.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.method.integral import Sums

PANELS = 16
NODES = 8
_AGREE = 1e-3  # of the tolerance: by how much a panel and its halves may differ
_SUM = 0.1  # of the tolerance: a sum that fails by more looks at the origin
_NARROW = 1e-6  # a panel is not halved below this part of its distance from 0: what is left is a jump
_DECADES = 24
_MOST = 4096  # points a target
_AT_ONCE = 16

Pieces = list[tuple[float, float, Int[Tensor, " target"], Float[Tensor, "target scalar source"]]]
Values = Callable[
    [Float[Tensor, " node"], Int[Tensor, " target"]], Float[Tensor, "node target scalar source"]
]
_POINTS, _WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(NODES))


@dataclass(frozen=True, eq=False)
class FineIntegral:
    """Attributions, the L1 sum of the differences that were let pass, and each target's points.

    `parts_error` is that sum of parts, where the values are those.
    """

    value: Float[Tensor, "target scalar source"]
    error: Float[Tensor, "target scalar"]
    nodes: Int[Tensor, " target"]
    parts_error: Float[Tensor, "target scalar"] | None = None


def fine(values: Values, total: Tensor, scale: Tensor, tol: float, sums: Sums | None = None) -> FineIntegral:
    """`∫_0^1 values da` for every target, to a small part of `tol * scale`.

    Where the values are parts, `sums` gives the sums by source, which decide.
    """
    targets = torch.arange(len(total), device=total.device)
    integral = _halved(values, np.linspace(0, 1, PANELS + 1), targets, scale, tol, sums)
    off = (integral.value.sum(-1) - total).abs() > _SUM * tol * scale
    rows = off.any(-1).nonzero()[:, 0]
    if not len(rows):
        return integral
    decades = np.concatenate([[0], 10.0 ** np.arange(-_DECADES, 0) / PANELS])
    graded = np.concatenate([decades, np.arange(1, PANELS + 1) / PANELS])
    graded_integral = _halved(values, graded, rows, scale, tol, sums)
    parts_error = integral.parts_error
    if parts_error is not None and graded_integral.parts_error is not None:
        parts_error = parts_error.index_copy(0, rows, graded_integral.parts_error[rows])
    return FineIntegral(
        integral.value.index_copy(0, rows, graded_integral.value[rows]),
        integral.error.index_copy(0, rows, graded_integral.error[rows]),
        integral.nodes + graded_integral.nodes,
        parts_error,
    )


def _halved(
    values: Values, edges: np.ndarray, targets: Tensor, scale: Tensor, tol: float, sums: Sums | None
) -> FineIntegral:
    used = torch.zeros(len(scale), dtype=torch.long, device=scale.device)
    panels = _measured(values, [(float(a), float(b), targets) for a, b in pairwise(edges)], used)
    value = scale.new_zeros(len(scale), *panels[0][3].shape[1:], dtype=panels[0][3].dtype)
    error, parts_error = torch.zeros_like(scale), torch.zeros_like(scale)
    while panels:
        halves = _measured(
            values, [half for low, high, rows, _ in panels for half in _split(low, high, rows)], used
        )
        rest: Pieces = []
        for (low, high, rows, whole), left, right in zip(panels, halves[::2], halves[1::2], strict=True):
            off = left[3] + right[3] - whole
            gap = (off if sums is None else sums(off)).abs().sum(-1)
            agree = (gap <= _AGREE * tol * scale[rows]).all(-1) | (used[rows] >= _MOST)
            agreed = agree | torch.full_like(agree, high - low <= _NARROW * high)
            value[rows[agreed]] += (left[3] + right[3])[agreed]
            error[rows[agreed]] += gap[agreed]
            parts_error[rows[agreed]] += off[agreed].abs().sum(-1)
            rest += [(a, b, r[~agreed], v[~agreed]) for a, b, r, v in (left, right) if not agreed.all()]
        panels = rest
    return FineIntegral(value, error, used, None if sums is None else parts_error)


def _split(low: float, high: float, rows: Tensor) -> list[tuple[float, float, Tensor]]:
    middle = (low + high) / 2
    return [(low, middle, rows), (middle, high, rows)]


def _measured(values: Values, pieces: Iterable[tuple[float, float, Tensor]], used: Tensor) -> Pieces:
    """The Gauss-Legendre sums of panels; neighbours with the same targets share a call."""
    sums: Pieces = []
    group: list[tuple[float, float, Tensor]] = []
    for piece in pieces:
        if group and (len(group) == _AT_ONCE or not torch.equal(group[0][2], piece[2])):
            sums += _sums(values, group, used)
            group = []
        group.append(piece)
    return sums + _sums(values, group, used) if group else sums


def _sums(values: Values, group: list[tuple[float, float, Tensor]], used: Tensor) -> Pieces:
    rows = group[0][2]
    nodes = torch.cat([low + (high - low) * (_POINTS + 1) / 2 for low, high, _ in group])
    used[rows] += len(nodes)
    seen = values(nodes, rows).unflatten(0, (len(group), NODES))
    return [
        (low, high, rows, torch.einsum("s,stgk->tgk", _WEIGHTS.to(part) * (high - low) / 2, part))
        for (low, high, _), part in zip(group, seen, strict=True)
    ]
