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

A panel that does not converge is divided: into halves, or where it is steepest beside a = 0 into parts of
three decades, because norms put boundary layers and jumps there; nodes of long panels are laid on the
logarithm (see `panel_nodes`). What no node
sees is looked for where it would be: before the first node by one more, and between the last nodes of two
neighbours, whose polynomials have to agree where they meet.
"""

from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from ligflow.method.integral import Integral, Integrand, looks_near_start, sums_of
from ligflow.method.panel_nodes import is_logarithmic, nodes_between, slopes_between
from ligflow.method.panels import (
    FIRST,
    LAST,
    MISSING,
    Panel,
    beside,
    count_of,
    panel_of,
    shown_of,
    times_missing,
)

GRADED_TO = 1e-22
_STILL = 0.1  # changes below this part of the tolerance cannot explain a failing sum
_MUCH = 10  # of the tolerance: more than kinks take, so that changes below a part of it do not explain it
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
        self.gaps: dict[tuple[int, int], tuple[Panel, Panel, tuple[Tensor, Tensor, Tensor]]] = {}

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
            values = self._values([(piece.low, piece.high, 0, count) for piece in group], targets)
            for piece, rows in zip(group, values, strict=True):
                panels.append(self._panel(piece.low, piece.high, FIRST, targets, rows))
        return panels

    def _divided(self, pieces: list[Piece]) -> list[Panel]:
        """New panels where an old one failed; a wide one has to show its pace, with 15 nodes."""
        for piece in pieces:
            self.divided[piece.targets] = True
        opened = self._open(pieces)
        narrow = [panel for panel in opened if not panel.is_wide()]
        return narrow + self._climbed([panel for panel in opened if panel.is_wide()])

    def _climbed(self, panels: list[Panel]) -> list[Panel]:
        """The next level of panels: only new nodes are evaluated, of those with the same targets at once."""
        climbed = []
        for group in _by_targets(panels):
            nodes = [(panel.low, panel.high, len(panel.values), count_of(panel.level + 1)) for panel in group]
            for panel, values in zip(group, self._values(nodes, group[0].targets), strict=True):
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
        for panel in self.panels:
            panel.beside.zero_()
            starting.setdefault(panel.low, []).append(panel)
        neighbours = [(low, high) for low in self.panels for high in starting.get(low.high, [])]
        gaps = {}
        for low, high in neighbours:  # most are those of the round before
            pair = id(low), id(high)
            gaps[pair] = self.gaps.get(pair) or (low, high, beside(low, high, len(self.targets)))
            ours, theirs, hidden = gaps[pair][2]
            low.beside[ours] += hidden
            high.beside[theirs] += hidden
        self.gaps = gaps  # holds the panels too, so that no other takes their ids

    def _values(self, pieces: list[tuple[float, float, int, int]], targets: Tensor) -> tuple[Tensor, ...]:
        """The values that panels ask for, `(low, high, first node, node after the last)`, in one call."""
        values = self._evaluate(torch.cat([nodes_between(*piece) for piece in pieces]), targets)
        by_piece = values.split([end - begin for _, _, begin, end in pieces])
        return tuple(
            part * slopes_between(*piece).to(part)[:, None, None, None]
            if is_logarithmic(*piece[:2])
            else part
            for piece, part in zip(pieces, by_piece, strict=True)
        )

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
        times = torch.where(self.divided[:, None], MISSING, times_missing(self.shown))
        missing, resolved = times * (value.sum(-1) - self.total).abs(), self._resolved()
        met, error = self._judged(missing, limit)
        still = change <= _STILL * limit
        hides = still | (missing <= limit) | ((missing > _MUCH * limit) & (change <= _STILL * missing))
        self.hides = self.estimated & hides.all(-1) & ~resolved
        broken = ~torch.isfinite(value).flatten(1).all(-1)  # NaN cannot be refined away
        self.still = self.estimated & still.all(-1) & resolved
        stuck = self.still & ~self._looks()  # what is missing is a jump of F
        final = met.all(-1) | broken | stuck | (self.used >= self.max_nodes)
        booked = final & self._open_targets()
        self.value[booked], self.error[booked], self.met[booked] = value[booked], error[booked], met[booked]
        self._settle_parts(booked)
        self.panels = [rest for panel in self.panels for rest in panel.of(~final[panel.targets])]

    def _judged(self, missing: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
        """Which scalars are met, with so much said to be missing, and what is said of their errors."""
        witnessed, error = torch.zeros_like(self.error), torch.zeros_like(self.error)
        for panel in self.panels:
            witnessed[panel.targets] += self._witnessed(panel)
            error[panel.targets] += panel.error(self.rough[panel.targets])
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
        if panel.low > 0 or not (panel.is_wide() and looks_near_start(self.integrand)):
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

    def _looks(self) -> Tensor:
        """Whether more nodes of a wide panel may find what is missing."""
        looks = torch.zeros_like(self.divided)
        for panel in self.panels:
            if panel.may_hide_more():
                looks[panel.targets] = True
        return looks

    def _resolved(self) -> Tensor:
        """Whether the panel at a = 0 ends so near to it that nothing is looked for there."""
        resolved = torch.ones_like(self.divided)
        for panel in self.panels:
            if panel.low == 0 and panel.high > GRADED_TO:
                resolved[panel.targets] = False
        return resolved

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
        graded, sharp = self._graded(panel), self._sharp(panel)
        kinds = [
            (panel.graded(sharp=True), graded & sharp),
            (panel.graded(sharp=False), graded & ~sharp),
            (panel.halves(), ~graded),
        ]
        return [
            Piece(*edges, panel.targets[split & rows])
            for parts, rows in kinds
            if (split & rows).any()
            for edges in parts
        ]

    def _wanted(self, panel: Panel, count: Tensor) -> Tensor:
        """Whether a panel has more than its share of what is wrong with a target.

        First of the estimated error; where all estimates hold and the sum still fails, of the plain
        change between rules (kinks defeat the estimate); where that is a tenth of what is missing at most,
        mass hides at a = 0, and if not there, in a wide panel.
        """
        share = self.tol * self.scale[panel.targets] / (2 * count[panel.targets, None])
        above = (self._witnessed(panel) > share).any(-1)
        moving = (panel.changes[0] > _STILL * share).any(-1)
        hiding = torch.full_like(above, panel.low == 0 and panel.high > GRADED_TO)
        looks = torch.full_like(above, panel.may_hide_more())
        estimated, hides, still = (of[panel.targets] for of in (self.estimated, self.hides, self.still))
        return torch.where(hides, hiding, torch.where(still, looks, torch.where(estimated, moving, above)))

    def _climbs(self, panel: Panel) -> Tensor:
        """Climb while it pays, else divide.

        Always to 15 nodes, but for a part beside a = 0 that is steepest there; to 31 if 15 brought a quick
        gain, or on the logarithm, where two halves of 15 nodes are no more exact.
        """
        quick = panel.quick()
        if panel.level == LAST:
            return torch.zeros_like(quick)
        pays = torch.full_like(quick, panel.is_logarithmic())
        if panel.level == FIRST:
            pays = ~self._graded(panel) if panel.low == 0 and not panel.is_whole() else torch.ones_like(quick)
        return (quick | pays | self.still[panel.targets]) & ~self._hiding(panel)

    def _graded(self, panel: Panel) -> Tensor:
        """Whether to divide towards a = 0: where the worst scalar is steepest there, or mass hides there."""
        if panel.low > 0:
            return torch.zeros_like(panel.targets, dtype=torch.bool)
        return self._of_worst((panel.steep > 0) | (panel.before > 0), panel) | self._hiding(panel)

    def _sharp(self, panel: Panel) -> Tensor:
        """Whether that is before all nodes but the first."""
        return self._of_worst(panel.sharp, panel) | self._hiding(panel)

    def _of_worst(self, values: Tensor, panel: Panel) -> Tensor:
        """Those of the scalar with the largest error, for each target of a panel."""
        error = self._witnessed(panel) / self.scale[panel.targets]
        return values.gather(1, error.argmax(-1, keepdim=True))[:, 0]

    def _hiding(self, panel: Panel) -> Tensor:
        """Changes are too small to be what is missing from the sum."""
        return self.hides[panel.targets]


def _by_targets(pieces: list[P]) -> list[list[P]]:
    """Those with the same targets together."""
    groups: dict[tuple[int, ...], list[P]] = {}
    for piece in pieces:
        groups.setdefault(tuple(piece.targets.tolist()), []).append(piece)
    return list(groups.values())
