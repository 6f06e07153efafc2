"""How well the integrals of a run are certified, and what was left out, from the shards one at a time.

Quantiles are read off a histogram: exact ones would need all shards in memory, or a database.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas

from ligflow.corpus.runs.store import Run
from ligflow.corpus.tables.experiment import VARIANTS

_EDGES = 10.0 ** np.linspace(-12, 2, 14 * 50 + 1)  # |certificates|, 50 bins a decade
LISTED = 20


@dataclass(frozen=True)
class Completeness:
    """All integrals of a route under a baseline, or of one layer of them.

    Quantiles are of the worst |certificate| of each target (over its heads), to a fiftieth of a decade.
    """

    route: str
    baseline: str
    layer: int | None
    integrals: int
    unmet: int
    median: float
    quantile_99: float
    largest: float
    nodes: float
    origin_mass: float
    far_from_tame: float
    flipped: float


@dataclass
class _Count:
    integrals: int = 0
    rows: int = 0
    unmet: int = 0
    nodes: float = 0.0
    flipped: int = 0
    origin_mass: float = 0.0
    origin_heavy: int = 0
    largest: float = 0.0
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(len(_EDGES) + 1, dtype=np.int64))

    def take(self, rows: pandas.DataFrame) -> None:
        size = rows["certificate"].abs().to_numpy(dtype=np.float64)
        self.rows += len(rows)
        self.integrals += int(rows["cells"].sum())
        self.unmet += int(rows["unmet"].sum())
        self.nodes += float(rows["nodes"].sum())
        self.flipped += int(rows["flipped"].sum())
        self.origin_mass = max(self.origin_mass, float(rows["origin_mass"].max()))
        self.origin_heavy += int((rows["origin_mass"] > 0.1).sum())
        self.largest = max(self.largest, float(size.max()))
        self.histogram += np.bincount(np.searchsorted(_EDGES, size), minlength=len(_EDGES) + 1)

    def quantile(self, share: float) -> float:
        place = int(np.searchsorted(np.cumsum(self.histogram), share * self.rows))
        return float(min(_EDGES[min(place, len(_EDGES) - 1)], self.largest))


def certify(run: Run) -> list[Completeness]:
    """Every route and baseline over all layers, then layer by layer."""
    counts: dict[tuple[str, str, int | None], _Count] = {}
    for shard in run.done:
        frame = run.table(shard, "cells").to_pandas()
        for (route, baseline, layer), rows in frame.groupby(["route", "baseline", "layer"], observed=True):
            for place in (None, int(layer)):
                counts.setdefault((str(route), str(baseline), place), _Count()).take(rows)
    order = {key: number for number, key in enumerate(VARIANTS)}
    keys = sorted(counts, key=lambda key: (key[2] is not None, order[key[0], key[1]], key[2] or 0))
    return [_completeness(*key, counts[key]) for key in keys]


def _completeness(route: str, baseline: str, layer: int | None, of: _Count) -> Completeness:
    return Completeness(
        route, baseline, layer, of.integrals, of.unmet, of.quantile(0.5), of.quantile(0.99), of.largest,
        of.nodes / of.rows, of.origin_mass, of.origin_heavy / of.rows, of.flipped / of.integrals,
    )  # fmt: skip


@dataclass(frozen=True)
class LeftOut:
    """Sentences that could not be explained: how many, the first of them, and how often each reason."""

    explained: int
    count: int
    first: list[tuple[int, str, str]]
    reasons: Counter[str]


def left_out(run: Run) -> LeftOut:
    """What the finished shards say about sentences that were left out."""
    explained, count = 0, 0
    first: list[tuple[int, str, str]] = []
    reasons: Counter[str] = Counter()
    for shard in run.done:
        for row in run.table(shard, "sentences").to_pylist():
            if row["left_out"] is None:
                explained += 1
                continue
            count += 1
            reasons[_kind(row["left_out"])] += 1
            if len(first) < LISTED:
                first.append((row["sentence"], row["place"], row["left_out"]))
    return LeftOut(explained, count, first, reasons)


def _kind(reason: str) -> str:
    """A reason without its numbers, so that alike ones are counted together."""
    return "".join("#" if c.isdigit() else c for c in reason.split(". ")[0].removesuffix("."))
