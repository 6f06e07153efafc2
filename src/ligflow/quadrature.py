"""Integrals over the path, certified: fixed rules, and a driver that refines what has not converged.

Every integral has a known answer for its sum: `sum_k IG_k = total`. The driver uses two tests for
each target: the difference between nested rules, and that sum (completeness).

Adaptive rule. A panel is integrated by the nested Gauss-Patterson rules with 1, 3, 7, 15 and 31
nodes (Patterson 1968). With d_m the change from the previous rule and r = d_m / d_(m-1) the pace,
the error is estimated as `d_m min(1, 10 r^2)`: where doubling the nodes gains a digit or more, the
next doubling gains at least twice as many. While [0, 1] is one panel the sum is a second witness:
`2 r^2` will do where it also holds to a third of the tolerance. Where doubling gains nothing (kinks
of an activation), the changes themselves count. A panel that does not converge is divided; the one
that touches a = 0 is divided geometrically, four decades at a time, because norms put boundary
layers and jumps there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.names import MAX_NODES as MAX_NODES

FIXED_RULES = ("gauss-legendre", "midpoint", "trapezoid", "captum")
GRADED_TO = 1e-22
_MAX_FIXED = 100_000
_AT_ONCE = 64

Integrand = Callable[
    [Float[Tensor, " node"], Int[Tensor, " target"]], Float[Tensor, "node target scalar source"]
]


@dataclass(frozen=True, eq=False)
class Rule:
    """Nodes and weights on [0, 1]."""

    nodes: Float[Tensor, " node"]
    weights: Float[Tensor, " node"]


@dataclass(frozen=True, eq=False)
class Integral:
    """Attributions, and what is known of their error.

    `error` is the estimated L1 error of a column, `nodes` the path points each target took, `met` says
    for each scalar whether estimate and completeness are both within the tolerance, and `divided`
    whether [0, 1] as one panel was not enough (or, for a fixed rule, was not known to be).
    """

    value: Float[Tensor, "target scalar source"]
    error: Float[Tensor, "target scalar"]
    nodes: Int[Tensor, " target"]
    met: Bool[Tensor, "target scalar"]
    divided: Bool[Tensor, " target"]


def fixed_rule(name: str) -> Rule:
    """The rule called `gauss-legendre:n`, `midpoint:n`, `trapezoid:n` or `captum:n`.

    `captum:n` is the published setting: n equally spaced points from 0 to 1, weights 1/n with the
    two ends halved, so that the weights sum to (n - 1)/n.
    """
    kind, _, count = name.partition(":")
    least = 2 if kind in ("trapezoid", "captum") else 1
    if kind not in FIXED_RULES or not _is_number(count) or not least <= int(count) <= _MAX_FIXED:
        known = ", ".join(f"'{rule}:n'" for rule in FIXED_RULES)
        raise LigflowError(
            f"Unknown quadrature {name!r}: use 'adaptive' or {known} "
            f"with a whole number n, at least 1 (2 for trapezoid and captum), e.g. 'gauss-legendre:16'."
        )
    return _RULES[kind](int(count))


def _is_number(count: str) -> bool:
    """Digits that `int` reads; not those of other scripts, exponents (²), or thousands of them."""
    return count.isascii() and count.isdecimal() and len(count) < 10


def _gauss_legendre(count: int) -> Rule:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return Rule(torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2))


def _midpoint(count: int) -> Rule:
    nodes = (torch.arange(count, dtype=torch.float64, device="cpu") + 0.5) / count
    return Rule(nodes, torch.full((count,), 1 / count, dtype=torch.float64, device="cpu"))


def _trapezoid(count: int) -> Rule:
    return Rule(_even(count), _halved_ends(count) / (count - 1))


def _captum(count: int) -> Rule:
    return Rule(_even(count), _halved_ends(count) / count)


def _even(count: int) -> Tensor:
    return torch.linspace(0, 1, count, dtype=torch.float64, device="cpu")


def _halved_ends(count: int) -> Tensor:
    weights = torch.ones(count, dtype=torch.float64, device="cpu")
    weights[[0, -1]] = 0.5
    return weights


_RULES = {
    "gauss-legendre": _gauss_legendre,
    "midpoint": _midpoint,
    "trapezoid": _trapezoid,
    "captum": _captum,
}

# Positive abscissae of the nested rules on [-1, 1], the new ones of each level (Patterson 1968).
_PATTERSON = (
    (),
    (0.774596669241483377,),
    (0.960491268708020283, 0.434243749346802558),
    (0.993831963212755022, 0.888459232872256998, 0.621102946737226402, 0.223386686428966881),
    (
        0.999098124967667597, 0.981531149553740106, 0.929654857429740056, 0.836725938168868735,
        0.702496206491527078, 0.531319743644375623, 0.331135393257976833, 0.112488943133186625,
    ),
)  # fmt: skip
_STILL = 0.1  # changes below this part of the tolerance cannot explain a failing sum
_SAFE, _WITNESSED = 10, 2  # what r^2 is multiplied by; the second where the sum is held to _CLOSE
_CLOSE = 1 / 3
_GAIN = 0.2  # the most that a doubling is trusted to gain where the path had to be divided
_LUCK = 0.2  # near a kink two rules may agree by luck; the change before is then the better witness
_WIDE = 0.05
_FIRST = 2  # a panel starts with the 7-node rule, which contains those with 1 and 3
_LAST = len(_PATTERSON) - 1


def patterson_nodes(level: int) -> Float[np.ndarray, " node"]:
    """The `2^(level+1) - 1` nodes of a level on [-1, 1], in the order in which levels add them."""
    added = [np.zeros(1)] + [np.concatenate([[x, -x] for x in new]) for new in _PATTERSON[1 : level + 1]]
    return np.concatenate(added)


def patterson_weights(level: int) -> Float[np.ndarray, " node"]:
    """The interpolatory weights on [-1, 1]: those that integrate Legendre polynomials exactly."""
    nodes = patterson_nodes(level)
    moments = np.zeros(len(nodes))
    moments[0] = 2
    vandermonde = np.polynomial.legendre.legvander(nodes, len(nodes) - 1)
    return np.linalg.solve(vandermonde.T, moments)


_NODES = torch.from_numpy((patterson_nodes(_LAST) + 1) / 2)
_WEIGHTS = torch.zeros(len(_PATTERSON), len(_NODES), dtype=torch.float64, device="cpu")
for _level in range(len(_PATTERSON)):
    _WEIGHTS[_level, : 2 ** (_level + 1) - 1] = torch.from_numpy(patterson_weights(_level) / 2)


def integrate(
    integrand: Integrand,
    total: Float[Tensor, "target scalar"],
    scale: Float[Tensor, "target scalar"],
    quadrature: str = "adaptive",
    tol: float = 1e-3,
    max_nodes: int = MAX_NODES,
) -> Integral:
    """`∫_0^1 integrand da` for every target, to `tol * scale` in estimate and in completeness.

    `integrand(nodes, targets)` takes path points in (0, 1] and indices of targets; `total` is the
    known sum over sources. A target stops when it has converged, when it has used `max_nodes` nodes
    or more (a round of refinement is completed, so the last one may go beyond), or when nothing is
    left to divide (a jump of F: its completeness error stays, and `met` is False).
    """
    if quadrature == "adaptive":
        return _Driver(integrand, total, scale, tol, max_nodes).run()
    rule = fixed_rule(quadrature)
    targets = torch.arange(len(total), device=total.device)
    value = _weighted(integrand, rule, targets, total)
    met = (value.sum(-1) - total).abs() <= tol * scale
    nodes = torch.full_like(targets, len(rule.nodes))
    return Integral(value, torch.zeros_like(total), nodes, met, torch.ones_like(targets, dtype=torch.bool))


def _weighted(
    integrand: Integrand, rule: Rule, targets: Tensor, like: Tensor
) -> Float[Tensor, "target scalar source"]:
    """The sum of a rule, a few nodes at a time."""
    value: Tensor | None = None
    for nodes, weights in zip(rule.nodes.split(_AT_ONCE), rule.weights.split(_AT_ONCE), strict=True):
        values = integrand(nodes.to(like), targets)
        part = torch.einsum("s,stgk->tgk", weights.to(values), values)
        value = part if value is None else value.add_(part)
    assert value is not None
    return value


@dataclass(frozen=True, eq=False)
class _Panel:
    """[low, high] for some targets; `sums[l]` is the l-th rule's sum, partial above `level`."""

    low: float
    high: float
    level: int
    targets: Int[Tensor, " target"]
    sums: Float[Tensor, "rule target scalar source"]

    def part(self, keep: Bool[Tensor, " target"]) -> "_Panel":
        return _Panel(self.low, self.high, self.level, self.targets[keep], self.sums[:, keep])

    def value(self) -> Float[Tensor, "target scalar source"]:
        return self.sums[self.level]

    def change(self, back: int = 0) -> Float[Tensor, "target scalar"]:
        return (self.sums[self.level - back] - self.sums[self.level - back - 1]).abs().sum(-1)

    def error(self, rough: Bool[Tensor, " panel_target"]) -> Float[Tensor, "panel_target scalar"]:
        """The estimate by the pace of convergence; for targets with kinks the changes themselves."""
        change, before = self.change(), self.change(back=1)
        pace = torch.where(before > 0, change / torch.where(before > 0, before, 1), 1)
        least, safe = (0.0, _WITNESSED) if self.is_whole() else (_GAIN, _SAFE)
        smooth = change * (safe * pace.square()).clamp(min=least, max=1)
        return torch.where(rough[:, None], torch.maximum(change, _LUCK * before), smooth)

    def is_whole(self) -> bool:
        """Whether this is the undivided path."""
        return (self.low, self.high) == (0.0, 1.0)

    def is_rough(self) -> Bool[Tensor, " panel_target"]:
        """Whether 15 nodes or more still bring no digit: the integrand has a kink in this panel."""
        slow = (self.change() > 0.3 * self.change(back=1)).any(-1)
        return slow & torch.full_like(slow, self.level > _FIRST)

    def divide(self) -> list[tuple[float, float]]:
        if self.is_whole():
            return [(0.0, 0.1), (0.1, 1.0)]
        if self.low == 0:
            edges = [self.high * 10.0**-power for power in range(5)] + [0.0]
            return list(zip(edges[1:], edges[:-1], strict=True))
        wide = self.high > 3 * self.low
        middle = (self.low * self.high) ** 0.5 if wide else (self.low + self.high) / 2
        return [(self.low, middle), (middle, self.high)]


class _Driver:
    """Keeps the panels of the targets that have not converged, and refines the worst of them."""

    def __init__(
        self, integrand: Integrand, total: Tensor, scale: Tensor, tol: float, max_nodes: int
    ) -> None:
        self.integrand, self.total, self.scale = integrand, total, scale
        self.tol, self.max_nodes = tol, max_nodes
        self.targets = torch.arange(len(total), device=total.device)
        self.used = torch.zeros_like(self.targets)
        self.rough = torch.zeros_like(self.targets, dtype=torch.bool)
        self.divided = torch.zeros_like(self.rough)
        self.error = torch.zeros_like(total)
        self.met = torch.zeros_like(total, dtype=torch.bool)

    def run(self) -> Integral:
        self.panels = self._open([(0.0, 1.0, self.targets)])
        self.value = torch.zeros_like(self.panels[0].value())
        self._settle()
        while self.panels:
            keep, climb, divide = self._choose()
            self.panels = keep + [self._climb(panel) for panel in climb] + self._divided(divide)
            self._settle()
        return Integral(self.value, self.error, self.used, self.met, self.divided)

    def _open(self, pieces: list[tuple[float, float, Tensor]]) -> list[_Panel]:
        """New panels at the first level; those with the same targets share one call."""
        panels = []
        for group in _by_targets(pieces):
            targets, count = group[0][2], 2 ** (_FIRST + 1) - 1
            nodes = torch.cat([low + (high - low) * _NODES[:count] for low, high, _ in group])
            values = self._evaluate(nodes, targets).unflatten(0, (len(group), count))
            for (low, high, _), rows in zip(group, values, strict=True):
                panels.append(_Panel(low, high, _FIRST, targets, _sums(rows, 0, high - low)))
        return panels

    def _divided(self, pieces: list[tuple[float, float, Tensor]]) -> list[_Panel]:
        """New panels where an old one failed; a wide one has to show its pace, with 15 nodes."""
        for _, _, targets in pieces:
            self.divided[targets] = True
        opened = self._open(pieces)
        return [self._climb(p) if p.high - p.low > _WIDE else p for p in opened]

    def _climb(self, panel: _Panel) -> _Panel:
        """The next level of a panel: only its new nodes are evaluated."""
        begin, end = 2 ** (panel.level + 1) - 1, 2 ** (panel.level + 2) - 1
        nodes = panel.low + (panel.high - panel.low) * _NODES[begin:end]
        rows = self._evaluate(nodes, panel.targets)
        sums = panel.sums + _sums(rows, begin, panel.high - panel.low)
        return _Panel(panel.low, panel.high, panel.level + 1, panel.targets, sums)

    def _evaluate(self, nodes: Tensor, targets: Tensor) -> Tensor:
        self.used[targets] += len(nodes)
        return self.integrand(nodes.to(self.total), targets)

    def _settle(self) -> None:
        """Book the targets that have converged, or that cannot go on, and drop them from the panels."""
        for panel in self.panels:
            self.rough[panel.targets] |= panel.is_rough() & (panel.low > 0)
        value, error = torch.zeros_like(self.value), torch.zeros_like(self.error)
        change = torch.zeros_like(self.error)
        for panel in self.panels:
            value[panel.targets] += panel.value()
            error[panel.targets] += panel.error(self.rough[panel.targets])
            change[panel.targets] += panel.change()
        limit = self.tol * self.scale
        close = torch.where(self.divided | self.rough, 1, _CLOSE)[:, None] * limit
        met = (error <= limit) & ((value.sum(-1) - self.total).abs() <= close)
        self.estimated, self.still = (error <= limit).all(-1), (change <= _STILL * limit).all(-1)
        broken = ~torch.isfinite(value).flatten(1).all(-1)  # NaN cannot be refined away
        done = met.all(-1) | broken | self._stuck() | (self.used >= self.max_nodes)
        booked = done & self._open_targets()
        self.value[booked], self.error[booked], self.met[booked] = value[booked], error[booked], met[booked]
        self.panels = [
            rest for panel in self.panels if len((rest := panel.part(~done[panel.targets])).targets)
        ]

    def _open_targets(self) -> Tensor:
        mask = torch.zeros_like(self.targets, dtype=torch.bool)
        for panel in self.panels:
            mask[panel.targets] = True
        return mask

    def _stuck(self) -> Tensor:
        """Nothing changes any more and the origin is resolved: what is missing is a jump of F."""
        stuck = self.estimated & self.still
        for panel in self.panels:
            if panel.low == 0 and panel.high > GRADED_TO:
                stuck[panel.targets] = False
        return stuck

    def _choose(self) -> tuple[list[_Panel], list[_Panel], list[tuple[float, float, Tensor]]]:
        """Which panels stay, which climb a level, and which are divided, target by target."""
        keep, climb, divide = [], [], []
        count = torch.zeros_like(self.targets)
        for panel in self.panels:
            count[panel.targets] += 1
        for panel in self.panels:
            wanted = self._wanted(panel, count)
            higher = wanted & self._climbs(panel)
            split = wanted & ~higher
            keep.append(panel.part(~wanted))
            climb.append(panel.part(higher))
            divide += [(*edges, panel.targets[split]) for edges in panel.divide()]
        nonempty = [piece for piece in divide if len(piece[2])]
        return [p for p in keep if len(p.targets)], [p for p in climb if len(p.targets)], nonempty

    def _wanted(self, panel: _Panel, count: Tensor) -> Tensor:
        """Whether a panel has more than its share of what is wrong with a target.

        First of the estimated error; where all estimates hold and the sum still fails, of the plain
        change between rules (kinks defeat the estimate); where nothing changes, mass hides at a = 0.
        """
        share = self.tol * self.scale[panel.targets] / (2 * count[panel.targets, None])
        above = (panel.error(self.rough[panel.targets]) > share).any(-1)
        moving = (panel.change() > _STILL * share).any(-1)
        hiding = torch.full_like(above, panel.low == 0 and panel.high > GRADED_TO)
        estimated, still = self.estimated[panel.targets], self.still[panel.targets]
        return torch.where(estimated, torch.where(still, hiding, moving), above)

    def _climbs(self, panel: _Panel) -> Tensor:
        """Climb while it pays: always to 15 nodes, to 31 if 15 brought a quick gain; else divide."""
        quick = (panel.change() <= 0.3 * panel.change(back=1)).all(-1)
        climbs = quick | torch.full_like(quick, panel.level == _FIRST)
        if panel.level == _LAST:
            return torch.zeros_like(quick)
        hiding = self.estimated[panel.targets] & self.still[panel.targets]
        return climbs & ~hiding


def _sums(values: Tensor, begin: int, width: float) -> Tensor:
    weights = _WEIGHTS[:, begin : begin + len(values)].to(values) * width
    return torch.einsum("ls,stgk->ltgk", weights, values)


def _by_targets(
    pieces: list[tuple[float, float, Tensor]],
) -> list[list[tuple[float, float, Tensor]]]:
    groups: dict[tuple[int, ...], list[tuple[float, float, Tensor]]] = {}
    for piece in pieces:
        groups.setdefault(tuple(piece[2].tolist()), []).append(piece)
    return list(groups.values())
