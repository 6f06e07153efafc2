"""One panel of the rule `adaptive`: what was seen at its nodes, and what that says of its error.

Three things are asked of the values, for each scalar over all its sources:

- the pace: d_m, the change from the nested rule before, over d_(m-1);
- the decay: the coefficients of the interpolating polynomial in the polynomials that are orthogonal on
  the nodes. The last six make three pairs of an odd and an even one (after [berntsen1991]), so
  that no symmetry hides an error. With T the last pair and r the slower of the two steps to it, the
  error is about T r^2, and at the very least a tenth of that;
- where the integrand is steepest: beside a = 0, or elsewhere.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ligflow.method.integral import Sums
from ligflow.method.quadrature_rules import LEVELS, patterson_nodes, patterson_weights

FIRST = 2  # a panel starts with the 7-node rule, which contains those with 1 and 3
LAST = LEVELS - 1
_SAFE, _WITNESSED = 10.0, 2.0  # what r^2 is multiplied by; the second while the sum is a witness
_GAIN = 0.2  # the most that a doubling is trusted to gain where the path had to be divided
_LUCK = 0.2  # near a kink two rules may agree by luck; the change before is then the better witness
_DECAY = 0.1  # the part of T r^2 that the error cannot be below
_SLOW = 0.3  # a doubling that leaves more of the change brought no digit
_BLUR = 16  # T is the size of a coefficient; at the ends of a panel its polynomial is several times larger
_STEEP = 0.1  # the part of a panel that is cut off beside a = 0


def count_of(level: int) -> int:
    """How many nodes the rule of a level has: `2^(level + 1) - 1`."""
    return 2 ** (level + 1) - 1


def _orthogonal(level: int) -> np.ndarray:
    """Rows that turn values into coefficients: the last six, highest first."""
    nodes, weights = patterson_nodes(level), patterson_weights(level) / 2
    root = np.sqrt(weights)[:, None]
    polynomials, _ = np.linalg.qr(root * np.polynomial.legendre.legvander(nodes, len(nodes) - 1))
    return (polynomials * root).T[:-7:-1]


def _continued(level: int) -> np.ndarray:
    """Rows that turn values into those of the interpolating polynomial at both ends of the panel."""
    nodes, ends = patterson_nodes(level), np.array([-1.0, 1.0])
    at_nodes, at_ends = (np.polynomial.legendre.legvander(x, len(nodes) - 1) for x in (nodes, ends))
    return np.linalg.solve(at_nodes.T, at_ends.T).T


NODES = torch.from_numpy((patterson_nodes(LAST) + 1) / 2)
_WEIGHTS = torch.zeros(LEVELS, len(NODES), dtype=torch.float64, device="cpu")
for _level in range(LEVELS):
    _WEIGHTS[_level, : count_of(_level)] = torch.from_numpy(patterson_weights(_level) / 2)
_COEFFICIENTS, _AT_ENDS = (
    {level: torch.from_numpy(made(level).copy()) for level in range(FIRST, LEVELS)}
    for made in (_orthogonal, _continued)
)
_ORDER = {level: NODES[: count_of(level)].argsort() for level in range(FIRST, LEVELS)}


@dataclass(frozen=True, eq=False)
class PanelParts:
    """The integrals of the parts that sources are the sums of, their last two changes, and their decay.

    `start` is the interpolating polynomial at the low end.
    """

    value: Float[Tensor, "target scalar part"]
    start: Float[Tensor, "target scalar part"]
    changes: Float[Tensor, "two target scalar"]
    decay: Float[Tensor, "target scalar"]

    def part(self, keep: Bool[Tensor, " target"]) -> "PanelParts":
        """Those of some of the targets."""
        return PanelParts(self.value[keep], self.start[keep], self.changes[:, keep], self.decay[keep])


@dataclass(frozen=True, eq=False)
class Panel:
    """[low, high] for some targets: the integral, its last two changes, and what else the values said.

    `steep` is the largest step between nodes where that is beside the low end, else 0.
    `values` are kept while the panel can climb, those of `parts` where there are some; `ends` is the
    interpolating polynomial at low and high, and `blur` by how much that may be off. `before` is what may
    hide before the first node of the path, and `beside` what may hide between the last nodes of neighbours.
    """

    low: float
    high: float
    level: int
    targets: Int[Tensor, " target"]
    values: Float[Tensor, "node target scalar added"]
    value: Float[Tensor, "target scalar source"]
    changes: Float[Tensor, "two target scalar"]
    decay: Float[Tensor, "target scalar"]
    steep: Float[Tensor, "target scalar"]
    ends: Float[Tensor, "two target scalar source"]
    blur: Float[Tensor, "target scalar"]
    before: Float[Tensor, "target scalar"]
    beside: Float[Tensor, "target scalar"]
    parts: PanelParts | None = None

    def part(self, keep: Bool[Tensor, " target"]) -> "Panel":
        """The panel of some of its targets."""
        return Panel(
            self.low, self.high, self.level, self.targets[keep], self.values[:, keep], self.value[keep],
            self.changes[:, keep], self.decay[keep], self.steep[keep], self.ends[:, keep], self.blur[keep],
            self.before[keep], self.beside[keep], self.parts and self.parts.part(keep),
        )  # fmt: skip

    @property
    def width(self) -> float:
        """From low to high."""
        return self.high - self.low

    @property
    def first(self) -> float:
        """How far the first node is from the low end."""
        return self.width * float(NODES[: count_of(self.level)].min())

    def is_whole(self) -> bool:
        """Whether this is the undivided path."""
        return (self.low, self.high) == (0.0, 1.0)

    def error(self, rough: Bool[Tensor, " panel_target"]) -> Float[Tensor, "panel_target scalar"]:
        """The estimate by pace and decay; for targets with kinks the changes themselves."""
        least, safe = (0.0, _WITNESSED) if self.is_whole() else (_GAIN, _SAFE)
        return _estimate(self.changes, self.decay, rough, least, safe) + self.before + self.beside

    def part_error(self, rough: Bool[Tensor, " panel_target"]) -> Float[Tensor, "panel_target scalar"]:
        """The same of the parts, all of a target: no sum is a witness of them."""
        assert self.parts is not None
        return (
            _estimate(self.parts.changes, self.parts.decay, rough, _GAIN, _SAFE) + self.before + self.beside
        )

    def quick(self) -> Bool[Tensor, " panel_target"]:
        """Whether the last doubling brought about a digit for all scalars."""
        return (self.changes[0] <= _SLOW * self.changes[1]).all(-1)

    def is_rough(self) -> Bool[Tensor, " panel_target"]:
        """Whether 15 nodes or more still bring no digit: the integrand has a kink in this panel."""
        slow = (self.changes[0] > _SLOW * self.changes[1]).any(-1)
        return slow & torch.full_like(slow, self.level > FIRST)

    def divide(self, graded: bool) -> list[tuple[float, float]]:
        """Its parts: `graded` towards a = 0, or halves (geometric ones where the panel is wide)."""
        if graded and self.is_whole():
            return [(0.0, _STEEP), (_STEEP, 1.0)]
        if graded:
            edges = [self.high * 10.0**-power for power in range(5)] + [0.0]
            return list(zip(edges[1:], edges[:-1], strict=True))
        wide = self.low > 0 and self.high > 3 * self.low
        middle = (self.low * self.high) ** 0.5 if wide else (self.low + self.high) / 2
        return [(self.low, middle), (middle, self.high)]


def nodes_between(low: float, high: float, begin: int, end: int) -> Float[Tensor, " node"]:
    """Nodes `begin` to `end` of the rules, on a panel: `low + (high - low) x` for x in [0, 1]."""
    return low + (high - low) * NODES[begin:end]


def panel_of(
    low: float,
    high: float,
    level: int,
    targets: Int[Tensor, " target"],
    values: Float[Tensor, "node target scalar added"],
    sums: Sums | None = None,
) -> Panel:
    """The panel of a level, from the values at all its nodes: integral `(high - low) sum_s w_s f(a_s)`.

    With `sums` the values are parts, and what is asked of sources is asked of their sums.
    """
    if sums is not None:
        panel = panel_of(low, high, level, targets, sums(values))
        kept = values if level < LAST else values[:0]
        return replace(panel, values=kept, parts=_parts_of(values, level, high - low))
    weights = _WEIGHTS[level - 2 : level + 1, : len(values)].to(values) * (high - low)
    early, middle, value = torch.einsum("ls,stgk->ltgk", weights, values)
    changes = torch.stack([(value - middle).abs().sum(-1), (middle - early).abs().sum(-1)])
    decay, last = _decay(values, level)
    ends = torch.einsum("es,stgk->etgk", _AT_ENDS[level].to(values), values)
    kept, none = values if level < LAST else values[:0], torch.zeros_like(decay)
    return Panel(
        low, high, level, targets, kept, value, changes, decay * (high - low), _steep(values, level),
        ends, _BLUR * last, none, none,
    )  # fmt: skip


def _estimate(
    changes: Tensor, decay: Tensor, rough: Tensor, least: float, safe: float
) -> Float[Tensor, "target scalar"]:
    """By pace and decay; for targets with kinks the changes themselves."""
    change, before = changes
    smooth = change * (safe * _ratio(change, before).square()).clamp(min=least, max=1)
    smooth = torch.maximum(smooth, decay)
    return torch.where(rough[:, None], torch.maximum(change, _LUCK * before), smooth)


def _parts_of(values: Float[Tensor, "node target scalar part"], level: int, width: float) -> PanelParts:
    """What the values at all nodes of a level say of the parts."""
    weights = _WEIGHTS[level - 2 : level + 1, : len(values)].to(values) * width
    early, middle, value = torch.einsum("ls,stgk->ltgk", weights, values)
    changes = torch.stack([(value - middle).abs().sum(-1), (middle - early).abs().sum(-1)])
    start = torch.einsum("s,stgk->tgk", _AT_ENDS[level][0].to(values), values)
    return PanelParts(value, start, changes, _decay(values, level)[0] * width)


def _decay(
    values: Float[Tensor, "node target scalar source"], level: int
) -> tuple[Float[Tensor, "target scalar"], Float[Tensor, "target scalar"]]:
    """The part of `T r^2` that counts, and T."""
    found = torch.einsum("ns,stgk->ntgk", _COEFFICIENTS[level].to(values), values)
    last, middle, early = torch.hypot(found[::2], found[1::2]).sum(-1)
    pace = torch.maximum(_ratio(last, middle), _ratio(middle, early)).clamp(max=1)
    return _DECAY * last * pace.square(), last


def _steep(values: Float[Tensor, "node target scalar source"], level: int) -> Float[Tensor, "target scalar"]:
    """The largest step between neighbouring nodes if it is in the part that would be cut off, else 0."""
    order = _ORDER[level].to(values.device)
    middles = ((NODES[_ORDER[level]][1:] + NODES[_ORDER[level]][:-1]) / 2).to(values.device)
    largest, where = values[order].diff(dim=0).abs().sum(-1).max(dim=0)
    return torch.where(middles[where] < _STEEP, largest, 0)


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
    gap = (low.ends[1, ours] - high.ends[0, theirs]).abs().sum(-1) - low.blur[ours] - high.blur[theirs]
    return ours, theirs, gap.clamp(min=0) * (low.first + high.first) / 2


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / torch.where(whole > 0, whole, 1), 1)
