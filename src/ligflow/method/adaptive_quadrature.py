"""What the rule `adaptive` does: panels of nested rules, refined where they have not converged, by target.

Every integral has a known answer for its sum: `sum_k IG_k = total`. The driver uses two tests for
each target: an estimate of the error, source by source, and that sum (completeness).

A panel is integrated by the nested Gauss-Patterson rules with 1, 3, 7, 15 and 31
nodes [patterson1968]. With d_m the change from the previous rule and r = d_m / d_(m-1) the pace,
the error is estimated as `d_m min(1, 10 r^2)`: where doubling the nodes gains a digit or more, the
next doubling gains at least twice as many; while [0, 1] is one panel, `2 r^2` will do. Two rules may agree
by luck, or since errors at mirror images cancel; so the last coefficients of the interpolating polynomial
have to be small as well, odd and even ones (see `panels`). Where doubling gains nothing (kinks of an
activation), the changes themselves count.

The sum is a second witness, and the better one: what is missing from it is known, not estimated. It tells of
the sources so far as their errors do not cancel in it, as their last changes show, of all panels together:
s = |sum_k d_k| / sum_k |d_k|. So a target passes on its estimates over `max(1, 8 s^2)` where what is missing,
`|sum - total|`, times `min(3, 1.5 / s)` is within the tolerance too (times 1.5 for divided paths). Its
error is said to be the larger of that and of the estimates themselves, or the tolerance where it has passed
above it.

A panel that does not converge is divided: into halves, or where it is steepest beside a = 0
geometrically, four decades at a time, because norms put boundary layers and jumps there. What no node
sees is looked for where it would be: before the first node by one more, and between the last nodes of two
neighbours, whose polynomials have to agree where they meet.
"""

from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from ligflow.method.integral import Integral, Integrand, looks_near_start, sums_of
from ligflow.method.panels import (
    FIRST,
    LAST,
    MISSING,
    Panel,
    beside,
    count_of,
    nodes_between,
    panel_of,
    shown_of,
    times_missing,
)

GRADED_TO = 1e-22
_STILL = 0.1  # changes below this part of the tolerance cannot explain a failing sum
_WIDE = 0.05  # a panel that was made by dividing and is wider has to show its pace, with 15 nodes
_FLAT = 0.1  # of its parts: the slope of the sum at a = 0 below which a path starts flat
_HIDDEN = 0.2  # of what is off there, times the way to the first node: what it amounts to
_PROBE = 0.01  # of the way to the first node: where it is looked at


class Piece(NamedTuple):
    """A part of the path, for some targets."""

    low: float
    high: float
    targets: Tensor


P = TypeVar("P", Piece, Panel)


class AdaptiveIntegration:
    """Keeps the panels of the targets that have not converged, and refines the worst of them."""

    def __init__(
        self, integrand: Integrand, total: Tensor, scale: Tensor, tol: float, max_nodes: int
    ) -> None:
        self.integrand, self.total, self.scale = integrand, total, scale
        self.sums = sums_of(integrand)
        self.tol, self.max_nodes = tol, max_nodes
        self.targets = torch.arange(len(total), device=total.device)
        self.used = torch.zeros_like(self.targets)
        self.rough = torch.zeros_like(self.targets, dtype=torch.bool)
        self.divided = torch.zeros_like(self.rough)
        self.error, self.shown = torch.zeros_like(total), torch.zeros_like(total)
        self.met = torch.zeros_like(total, dtype=torch.bool)

    def run(self) -> Integral:
        """The integrals of all targets, once each has converged or cannot go on."""
        self.panels = self._open([Piece(0.0, 1.0, self.targets)])
        self.value = torch.zeros_like(self.panels[0].value)
        if self.sums is not None:
            self.parts = torch.zeros_like(self.panels[0].values[0])
            self.parts_error = torch.zeros_like(self.error)
        self._settle()
        while self.panels:
            keep, climb, divide = self._choose()
            self.panels = keep + self._climbed(climb) + self._divided(divide)
            self._settle()
        integral = Integral(self.value, self.error, self.used, self.met, self.divided)
        if self.sums is None:
            return integral
        return replace(integral, parts=self.parts, parts_error=self.parts_error)

    def _open(self, pieces: list[Piece]) -> list[Panel]:
        """New panels at the first level; those with the same targets share one call."""
        panels = []
        for group in _by_targets(pieces):
            targets, count = group[0].targets, count_of(FIRST)
            nodes = torch.cat([nodes_between(piece.low, piece.high, 0, count) for piece in group])
            values = self._evaluate(nodes, targets).unflatten(0, (len(group), count))
            for piece, rows in zip(group, values, strict=True):
                panels.append(self._panel(piece.low, piece.high, FIRST, targets, rows))
        return panels

    def _divided(self, pieces: list[Piece]) -> list[Panel]:
        """New panels where an old one failed; a wide one has to show its pace, with 15 nodes."""
        for piece in pieces:
            self.divided[piece.targets] = True
        opened = self._open(pieces)
        narrow = [panel for panel in opened if panel.width <= _WIDE]
        return narrow + self._climbed([panel for panel in opened if panel.width > _WIDE])

    def _climbed(self, panels: list[Panel]) -> list[Panel]:
        """The next level of panels: only new nodes are evaluated, of those with the same targets at once."""
        climbed = []
        for group in _by_targets(panels):
            nodes = [
                nodes_between(panel.low, panel.high, len(panel.values), count_of(panel.level + 1))
                for panel in group
            ]
            added = self._evaluate(torch.cat(nodes), group[0].targets).split([len(each) for each in nodes])
            for panel, values in zip(group, added, strict=True):
                values = torch.cat([panel.values, values])
                climbed.append(self._panel(panel.low, panel.high, panel.level + 1, panel.targets, values))
        return climbed

    def _panel(self, low: float, high: float, level: int, targets: Tensor, values: Tensor) -> Panel:
        panel = panel_of(low, high, level, targets, values, self.sums)
        return panel if low > 0 else replace(panel, before=self._before(panel))

    def _before(self, panel: Panel) -> Tensor:
        """What may hide before the first node.

        Where F starts flat it may come back to its start at once, and its direction jumps; where the
        integrand is steepest there, more may follow. So such a panel passes after one more look.
        """
        start, limit = panel.ends[0], self.tol * self.scale[panel.targets]
        size, hidden = start.abs().sum(-1), torch.zeros_like(panel.before)
        flat = torch.where(start.sum(-1) < _FLAT * size, size, 0)
        asks = panel.first * torch.maximum(flat, panel.steep) > _STILL * limit
        rows = (asks.any(-1) & (self._error_alone(panel) <= limit).all(-1)).nonzero()[:, 0]
        if len(rows):
            node = torch.full((1,), _PROBE * panel.first, dtype=torch.float64, device="cpu")
            near = self._evaluate(node, panel.targets[rows])[0]
            near = near if self.sums is None else self.sums(near)
            off = (near - start[rows]).abs().sum(-1)
            hidden[rows] = _HIDDEN * panel.first * off
        return hidden

    def _error_alone(self, panel: Panel) -> Tensor:
        """What a panel by itself says of its error, by the sum too where it is the whole path."""
        shown = shown_of(panel.summed, panel.changes[0])
        error = panel.error(self.rough[panel.targets], shown)
        if not panel.is_whole():
            return error
        missing = (panel.value.sum(-1) - self.total[panel.targets]).abs()
        return torch.maximum(error, times_missing(shown) * missing)

    def _witnessed(self, panel: Panel) -> Tensor:
        """What a panel adds to the errors of its targets, less where the sum of all panels is a witness."""
        return panel.error(self.rough[panel.targets], self.shown[panel.targets])

    def _beside(self) -> None:
        """What may hide between neighbours, in both of them."""
        starting: dict[float, list[Panel]] = {}
        panels = [
            panel if panel.is_whole() else replace(panel, beside=torch.zeros_like(panel.beside))
            for panel in self.panels
        ]
        for panel in panels:
            starting.setdefault(panel.low, []).append(panel)
        for low in panels:
            for high in starting.get(low.high, []):
                ours, theirs, hidden = beside(low, high, len(self.targets))
                low.beside[ours] += hidden
                high.beside[theirs] += hidden
        self.panels = panels

    def _evaluate(self, nodes: Tensor, targets: Tensor) -> Tensor:
        self.used[targets] += len(nodes)
        return self.integrand(nodes.to(self.total), targets)

    def _settle(self) -> None:
        """Book the targets that have converged, or that cannot go on, and drop them from the panels."""
        self._beside()
        for panel in self.panels:
            if panel.low > 0:
                self.rough[panel.targets] |= panel.is_rough()
        value = torch.zeros_like(self.value)
        change, summed = torch.zeros_like(self.error), torch.zeros_like(self.error)
        for panel in self.panels:
            value[panel.targets] += panel.value
            change[panel.targets] += panel.changes[0]
            summed[panel.targets] += panel.summed
        self.shown, limit = shown_of(summed, change), self.tol * self.scale
        met, error = self._judged((value.sum(-1) - self.total).abs(), limit)
        self.still = (change <= _STILL * limit).all(-1)
        broken = ~torch.isfinite(value).flatten(1).all(-1)  # NaN cannot be refined away
        final = met.all(-1) | broken | self._stuck() | (self.used >= self.max_nodes)
        booked = final & self._open_targets()
        self.value[booked], self.error[booked], self.met[booked] = value[booked], error[booked], met[booked]
        self._settle_parts(booked)
        self.panels = [rest for panel in self.panels for rest in panel.of(~final[panel.targets])]

    def _judged(self, missing: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
        """Which scalars are met, with so much missing from their sums, and what is said of their errors."""
        witnessed, error = torch.zeros_like(self.error), torch.zeros_like(self.error)
        for panel in self.panels:
            witnessed[panel.targets] += self._witnessed(panel)
            error[panel.targets] += panel.error(self.rough[panel.targets])
        missing = torch.where(self.divided[:, None], MISSING, times_missing(self.shown)) * missing
        self.estimated = (witnessed <= limit).all(-1)
        met = (witnessed <= limit) & (missing <= limit)
        error = torch.maximum(error, missing)
        return met, torch.where(met, torch.minimum(error, limit), error)

    def _settle_parts(self, booked: Tensor) -> None:
        """What the panels say of the parts of targets that are booked now."""
        settled = self.panels if self.sums is not None else ()
        for last in (part for panel in settled for part in panel.of(booked[panel.targets])):
            assert last.parts is not None
            self.parts[last.targets] += last.parts.value
            self.parts_error[last.targets] += last.part_error(self.rough[last.targets]) + self._near_start(
                last
            )

    def _near_start(self, panel: Panel) -> Tensor:
        """What parts may hide before the first node, where the sums that cancel it let the panel pass."""
        wide = panel.low == 0 and panel.width > _WIDE
        if not (wide and looks_near_start(self.integrand)):
            return torch.zeros_like(panel.decay)
        assert panel.parts is not None
        node = torch.full((1,), _PROBE * panel.first, dtype=torch.float64, device="cpu")
        near = self.integrand(node.to(self.total), panel.targets)[0]
        return _HIDDEN * panel.first * (near - panel.parts.start).abs().sum(-1)

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

    def _choose(self) -> tuple[list[Panel], list[Panel], list[Piece]]:
        """Which panels stay, which climb a level, and which are divided, target by target."""
        keep, climb, divide = list[Panel](), list[Panel](), list[Piece]()
        count = torch.zeros_like(self.targets)
        for panel in self.panels:
            count[panel.targets] += 1
        for panel in self.panels:
            wanted = self._wanted(panel, count)
            higher = wanted & self._climbs(panel)
            split = wanted & ~higher
            keep += panel.of(~wanted)
            climb += panel.of(higher)
            divide += self._pieces(panel, split) if split.any() else []
        return keep, climb, divide

    def _pieces(self, panel: Panel, split: Tensor) -> list[Piece]:
        """What a panel is divided into, for some of its targets."""
        graded = self._graded(panel)
        by_kind = {kind: panel.targets[split & (graded == kind)] for kind in (True, False)}
        return [
            Piece(*edges, some) for kind, some in by_kind.items() if len(some) for edges in panel.divide(kind)
        ]

    def _wanted(self, panel: Panel, count: Tensor) -> Tensor:
        """Whether a panel has more than its share of what is wrong with a target.

        First of the estimated error; where all estimates hold and the sum still fails, of the plain
        change between rules (kinks defeat the estimate); where nothing changes, mass hides at a = 0.
        """
        share = self.tol * self.scale[panel.targets] / (2 * count[panel.targets, None])
        above = (self._witnessed(panel) > share).any(-1)
        moving = (panel.changes[0] > _STILL * share).any(-1)
        hiding = torch.full_like(above, panel.low == 0 and panel.high > GRADED_TO)
        estimated, still = self.estimated[panel.targets], self.still[panel.targets]
        return torch.where(estimated, torch.where(still, hiding, moving), above)

    def _climbs(self, panel: Panel) -> Tensor:
        """Climb while it pays: always to 15 nodes, to 31 if 15 brought a quick gain; else divide."""
        quick = panel.quick()
        if panel.level == LAST:
            return torch.zeros_like(quick)
        return (quick | torch.full_like(quick, panel.level == FIRST)) & ~self._hiding(panel)

    def _graded(self, panel: Panel) -> Tensor:
        """Whether to divide towards a = 0: where the worst scalar is steepest there, or mass hides there."""
        if panel.low > 0:
            return torch.zeros_like(panel.targets, dtype=torch.bool)
        error = self._witnessed(panel) / self.scale[panel.targets]
        steep = ((panel.steep > 0) | (panel.before > 0)).gather(1, error.argmax(-1, keepdim=True))[:, 0]
        return steep | self._hiding(panel)

    def _hiding(self, panel: Panel) -> Tensor:
        """Nothing changes any more, and the sum fails."""
        return self.estimated[panel.targets] & self.still[panel.targets]


def _by_targets(pieces: list[P]) -> list[list[P]]:
    """Those with the same targets together."""
    groups: dict[tuple[int, ...], list[P]] = {}
    for piece in pieces:
        groups.setdefault(tuple(piece.targets.tolist()), []).append(piece)
    return list(groups.values())
