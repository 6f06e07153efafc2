"""One panel of the rule `adaptive`: what was seen at its nodes, and what that says of its error.

Four things are asked of the values, for each scalar over all its sources:

- the pace: d_m, the change from the nested rule before, over d_(m-1);
- the decay: the coefficients of the interpolating polynomial in the polynomials that are orthogonal on
  the nodes. The last six make three pairs of an odd and an even one (after [berntsen1991]), so
  that no symmetry hides an error. With T the last pair and r the slower of the two steps to it, the
  error is about T r^2, and at the very least a tenth of that;
- where the integrand is steepest: beside a = 0, or elsewhere;
- how much of the changes their sum over sources shows: so far the sum, which is known, is a witness of them.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ligflow.method.integral import Sums
from ligflow.method.panel_nodes import is_logarithmic, nodes_between, slopes_at_ends
from ligflow.method.quadrature_rules import LEVELS, patterson_nodes, patterson_weights

FIRST = 2  # a panel starts with the 7-node rule, which contains those with 1 and 3
LAST = LEVELS - 1
_SAFE, _WITNESSED = 10.0, 2.0  # what r^2 is multiplied by; the second while the path is whole
_SHOWN = 8.0  # by how much estimates are less where the sum shows all of the changes
MISSING, _MOST_MISSING = 1.5, 3.0  # times what is missing from the sum, where it shows all changes; at most
_GAIN = 0.2  # the most that a doubling is trusted to gain where the path had to be divided
_LUCK = 0.2  # near a kink two rules may agree by luck; the change before is then the better witness
_DECAY = 0.1  # the part of T r^2 that the error cannot be below
_SLOW = 0.3  # a doubling that leaves more of the change brought no digit
_BLUR = 16  # T is the size of a coefficient; at the ends of a panel its polynomial is several times larger
_PAIRED = 6  # coefficients that are looked at
_STEEP = 0.1  # the part of a panel that is cut off beside a = 0
_SHARP = 1e-3  # the same of the whole path where it is sharp; later parts are as long on the logarithm
_WIDE = 0.05  # a panel that was made by dividing and is wider has to show its pace, with 15 nodes


def count_of(level: int) -> int:
    """How many nodes the rule of a level has: `2^(level + 1) - 1`."""
    return 2 ** (level + 1) - 1


def _orthogonal(level: int) -> np.ndarray:
    """Rows that turn values into coefficients: the last six, highest first."""
    nodes, weights = patterson_nodes(level), patterson_weights(level) / 2
    root = np.sqrt(weights)[:, None]
    polynomials, _ = np.linalg.qr(root * np.polynomial.legendre.legvander(nodes, len(nodes) - 1))
    return (polynomials * root).T[: -_PAIRED - 1 : -1]


def _continued(level: int) -> np.ndarray:
    """Rows that turn values into those of the interpolating polynomial at both ends of the panel."""
    nodes, ends = patterson_nodes(level), np.array([-1.0, 1.0])
    at_nodes, at_ends = (np.polynomial.legendre.legvander(x, len(nodes) - 1) for x in (nodes, ends))
    return np.linalg.solve(at_nodes.T, at_ends.T).T


def _weights(level: int) -> np.ndarray:
    """The weights on [0, 1] of the rule of a level and of the two before it, at the nodes of the level."""
    count = count_of(level)
    by_level = [patterson_weights(each) / 2 for each in (level, level - 1, level - 2)]
    return np.stack([np.pad(weights, (0, count - len(weights))) for weights in by_level])


def _steps(level: int) -> np.ndarray:
    """Rows that turn values into their steps between neighbouring nodes."""
    order = patterson_nodes(level).argsort()
    return np.diff(np.eye(len(order))[order], axis=0)


def _rows(level: int) -> Tensor:
    """What is asked of the values at the nodes of a level, in one product.

    The integral and both ends (`_KEPT`); the two changes and the steps, of which sizes count; coefficients.
    """
    whole, half, quarter = _weights(level)
    integrals = [whole[None], _continued(level), np.stack([whole - half, half - quarter])]
    return torch.from_numpy(np.concatenate([*integrals, _steps(level), _orthogonal(level)]))


_KEPT = 3
_ROWS = {level: _rows(level) for level in range(FIRST, LEVELS)}
_SORTED = {level: np.sort((patterson_nodes(level) + 1) / 2) for level in range(FIRST, LEVELS)}


@cache
def _as(level: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The rows of a level, and which of its steps are in the part that would be cut off."""
    middles = (_SORTED[level][1:] + _SORTED[level][:-1]) / 2
    return _ROWS[level].to(device, dtype), torch.from_numpy(middles < _STEEP).to(device)


@dataclass(frozen=True, eq=False)
class PanelParts:
    """The integrals of the parts that sources are the sums of, their last two changes, and their decay.

    `start` is the interpolating polynomial at the low end.
    """

    value: Float[Tensor, "target scalar part"]
    start: Float[Tensor, "target scalar part"]
    changes: Float[Tensor, "two target scalar"]
    decay: Float[Tensor, "target scalar"]

    def part(self, rows: Int[Tensor, " row"]) -> "PanelParts":
        """Those of some of the targets, by their numbers in the panel."""
        return PanelParts(self.value[rows], self.start[rows], self.changes[:, rows], self.decay[rows])


@dataclass(frozen=True, eq=False)
class Panel:
    """[low, high] for some targets: the integral, its last two changes, and what else the values said.

    `summed` is the last change of the sum over sources, 0 where that doubling brought no digit. `steep` is
    the largest step between nodes where that is beside the low end, else 0, and `sharp` says whether it is
    the first step of all. `values` are kept while the panel can climb, those of `parts` where there are
    some, times `slopes_between`. `ends` is the interpolating polynomial at low and high, and `blur` by how
    much that may be off. `before` is what may hide before the first node of the path, and `beside` what may
    hide between the last nodes of neighbours.
    """

    low: float
    high: float
    level: int
    targets: Int[Tensor, " target"]
    values: Float[Tensor, "node target scalar added"]
    value: Float[Tensor, "target scalar source"]
    changes: Float[Tensor, "two target scalar"]
    summed: Float[Tensor, "target scalar"]
    decay: Float[Tensor, "target scalar"]
    steep: Float[Tensor, "target scalar"]
    sharp: Bool[Tensor, "target scalar"]
    ends: Float[Tensor, "two target scalar source"]
    blur: Float[Tensor, "two target scalar"]
    before: Float[Tensor, "target scalar"]
    beside: Float[Tensor, "target scalar"]
    parts: PanelParts | None = None

    def of(self, keep: Bool[Tensor, " target"]) -> list["Panel"]:
        """The panel of some of its targets; none where none are kept, and itself where all are."""
        count = int(keep.sum())
        if count == len(keep):
            return [self]
        return [self.part(keep)] if count else []

    def part(self, keep: Bool[Tensor, " target"]) -> "Panel":
        """The panel of some of its targets, copied."""
        rows = keep.nonzero()[:, 0]
        return Panel(
            self.low, self.high, self.level, self.targets[rows], self.values[:, rows], self.value[rows],
            self.changes[:, rows], self.summed[rows], self.decay[rows], self.steep[rows], self.sharp[rows],
            self.ends[:, rows], self.blur[:, rows], self.before[rows], self.beside[rows],
            self.parts and self.parts.part(rows),
        )  # fmt: skip

    @property
    def width(self) -> float:
        """From low to high."""
        return self.high - self.low

    @property
    def first(self) -> float:
        """How far the first node is from the low end."""
        return float(self._nodes().min()) - self.low

    @property
    def last(self) -> float:
        """How far the last node is from the high end."""
        return self.high - float(self._nodes().max())

    def _nodes(self) -> Float[Tensor, " node"]:
        return nodes_between(self.low, self.high, 0, count_of(self.level))

    def is_logarithmic(self) -> bool:
        """Whether its nodes are laid on the logarithm."""
        return is_logarithmic(self.low, self.high)

    def is_new_at_start(self) -> bool:
        """Whether this is a part beside a = 0 with 7 nodes: two rules may agree there by luck."""
        return self.low == 0 and self.level == FIRST and not self.is_whole()

    def may_hide_more(self) -> bool:
        """Whether nodes can be added that lie far enough apart to miss something."""
        return self.level < LAST and self.width > _WIDE

    def is_wide(self) -> bool:
        """Whether it has to show its pace, with 15 nodes, where it was made by dividing."""
        return self.width > _WIDE or self.is_logarithmic()

    def is_whole(self) -> bool:
        """Whether this is the undivided path."""
        return (self.low, self.high) == (0.0, 1.0)

    def error(
        self, rough: Bool[Tensor, " panel_target"], shown: Float[Tensor, "panel_target scalar"] | None = None
    ) -> Float[Tensor, "panel_target scalar"]:
        """The estimate by pace and decay, or for kinks the changes; with `shown` over `max(1, 8 shown^2)`."""
        rough = rough | self.is_new_at_start()
        smooth, of_kinks = self._estimates
        estimate = torch.where(rough[:, None], of_kinks, smooth)
        if shown is not None:
            estimate = estimate / torch.where(rough[:, None], 1, (_SHOWN * shown.square()).clamp(min=1))
        return estimate + self.before + self.beside

    @cached_property
    def _estimates(self) -> tuple[Tensor, Tensor]:
        """Where the integrand is smooth, and where it has kinks: asked for in every round."""
        least, safe = (0.0, _WITNESSED) if self.is_whole() else (_GAIN, _SAFE)
        return _smooth(self.changes, self.decay, least, safe), _of_kinks(self.changes)

    def part_error(self, rough: Bool[Tensor, " panel_target"]) -> Float[Tensor, "panel_target scalar"]:
        """The same of the parts, all of a target: no sum is a witness of them."""
        assert self.parts is not None
        rough = rough | self.is_new_at_start()
        smooth = _smooth(self.parts.changes, self.parts.decay, _GAIN, _SAFE)
        estimate = torch.where(rough[:, None], _of_kinks(self.parts.changes), smooth)
        return estimate + self.before + self.beside

    def quick(self) -> Bool[Tensor, " panel_target"]:
        """Whether the last doubling brought about a digit for all scalars."""
        return (self.changes[0] <= _SLOW * self.changes[1]).all(-1)

    def is_rough(self) -> Bool[Tensor, " panel_target"]:
        """Whether 15 nodes or more still bring no digit: the integrand has a kink in this panel.

        Where nodes are laid on the logarithm there may be too much in it, without a kink.
        """
        slow = (self.changes[0] > _SLOW * self.changes[1]).any(-1)
        return slow & torch.full_like(slow, self.level > FIRST and not self.is_logarithmic())

    def graded(self, sharp: bool) -> list[tuple[float, float]]:
        """Its parts towards a = 0: twice three decades and a rest.

        Of the whole path three decades and a rest, or one where it is not `sharp`.
        """
        if self.is_whole():
            edge = _SHARP if sharp else _STEEP
            return [(0.0, edge), (edge, 1.0)]
        return list(pairwise([0.0, self.high * _SHARP**2, self.high * _SHARP, self.high]))

    def halves(self) -> list[tuple[float, float]]:
        """Its two halves, of its logarithm where nodes are laid on that."""
        middle = (self.low * self.high) ** 0.5 if self.is_logarithmic() else (self.low + self.high) / 2
        return [(self.low, middle), (middle, self.high)]


def panel_of(
    low: float,
    high: float,
    level: int,
    targets: Int[Tensor, " target"],
    values: Float[Tensor, "node target scalar added"],
    sums: Sums | None = None,
) -> Panel:
    """The panel of a level, from the values at all its nodes: integral `(high - low) sum_s w_s v_s`.

    The values are those of the integrand times `slopes_between`. With `sums` they are parts, and what is
    asked of sources is asked of their sums.
    """
    if sums is not None:
        panel = panel_of(low, high, level, targets, sums(values))
        kept = values if level < LAST else values[:0]
        return replace(panel, values=kept, parts=_parts_of(values, level, high - low))
    width, steep_at = high - low, _as(level, values.dtype, values.device)[1]
    rows = _asked(values, level)
    kept, none = values if level < LAST else values[:0], torch.zeros_like(rows.decay)
    largest, where = rows.steps.max(dim=0)
    at_ends = torch.tensor(slopes_at_ends(low, high), dtype=values.dtype, device=values.device)[:, None, None]
    return Panel(
        low, high, level, targets, kept, rows.value * width, rows.changes * width, rows.summed * width,
        rows.decay * width, torch.where(steep_at[where], largest, 0), where == 0,
        rows.ends / at_ends[..., None], _BLUR * rows.last / at_ends, none, none.clone(),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Asked:
    """What the values at all nodes of a level say, as if the panel were [0, 1]; `last` is T."""

    value: Float[Tensor, "target scalar added"]
    ends: Float[Tensor, "two target scalar added"]
    changes: Float[Tensor, "two target scalar"]
    summed: Float[Tensor, "target scalar"]
    steps: Float[Tensor, "step target scalar"]
    decay: Float[Tensor, "target scalar"]
    last: Float[Tensor, "target scalar"]


def _asked(values: Float[Tensor, "node target scalar added"], level: int) -> _Asked:
    rows = _as(level, values.dtype, values.device)[0]
    products = (rows @ values.flatten(1)).unflatten(1, values.shape[1:])
    sizes = products[_KEPT:-_PAIRED].abs().sum(-1)
    last, middle, early = torch.hypot(products[-_PAIRED::2], products[1 - _PAIRED :: 2]).sum(-1)
    pace = torch.maximum(_ratio(last, middle), _ratio(middle, early)).clamp(max=1)
    summed = torch.where(sizes[0] <= _SLOW * sizes[1], products[_KEPT].sum(-1), 0)
    decay = _DECAY * last * pace.square()
    return _Asked(products[0], products[1:_KEPT], sizes[:2], summed, sizes[2:], decay, last)


def _smooth(changes: Tensor, decay: Tensor, least: float, safe: float) -> Float[Tensor, "target scalar"]:
    """The error by pace and decay."""
    change, before = changes
    return torch.maximum(change * (safe * _ratio(change, before).square()).clamp(min=least, max=1), decay)


def _of_kinks(changes: Tensor) -> Float[Tensor, "target scalar"]:
    """The error by the changes themselves."""
    return torch.maximum(changes[0], _LUCK * changes[1])


def _parts_of(values: Float[Tensor, "node target scalar part"], level: int, width: float) -> PanelParts:
    """What the values at all nodes of a level say of the parts."""
    rows = _asked(values, level)
    return PanelParts(rows.value * width, rows.ends[0].clone(), rows.changes * width, rows.decay * width)


def shown_of(
    summed: Float[Tensor, "target scalar"], change: Float[Tensor, "target scalar"]
) -> Float[Tensor, "target scalar"]:
    """The part of the last changes that their sum over sources shows: `|sum_k d_k| / sum_k |d_k|`."""
    return _ratio(summed.abs(), change, 0.0)


def times_missing(shown: Float[Tensor, "target scalar"]) -> Float[Tensor, "target scalar"]:
    """An error is also estimated as what is missing from the known sum, times `min(3, 1.5 / shown)`."""
    return (MISSING / shown).clamp(max=_MOST_MISSING)


def beside(low: Panel, high: Panel, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """What may hide where two panels meet: for which targets of each, and how much of it.

    The two polynomials agree at the common end, but for their blur, or something jumps between the nodes
    beside it: `max(0, |p_low - p_high| - blur) (d_low + d_high) / 2`, d the way to the first node there.
    `count` is the number of all targets.
    """
    place = torch.full((count,), -1, device=low.targets.device)
    place[high.targets] = torch.arange(len(high.targets), device=place.device)
    found = place[low.targets]
    ours, theirs = (found >= 0).nonzero()[:, 0], found[found >= 0]
    gap = (low.ends[1, ours] - high.ends[0, theirs]).abs().sum(-1) - low.blur[1, ours] - high.blur[0, theirs]
    return ours, theirs, gap.clamp(min=0) * (low.last + high.first) / 2


def _ratio(part: Tensor, whole: Tensor, of_nothing: float = 1.0) -> Tensor:
    return torch.where(whole > 0, part / torch.where(whole > 0, whole, 1), of_nothing)
