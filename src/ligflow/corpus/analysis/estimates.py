"""Every mean of a run with its draws, taken from the shards one at a time.

Draw b of a mean is `sum_s w_bs x_s / sum_s w_bs n_s` over sentences s, whose `n_s` rows sum to `x_s`; the
weights are those of a Poisson bootstrap over sentences, or documents [chamandy2012]. A row counts once,
whatever the number of its sources. One metric is no mean over rows: `relative_l2` of a sentence's map in a
layer is `||C - D|| / ||D|| = sqrt(sum_j ||c_j - d_j||^2 / sum_j ||d_j||^2)` over its rows j, so that a row
that hardly moves does not divide by next to nothing; its mean is over sentences and layers.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int

from ligflow.corpus.analysis.clusters import clusters_of
from ligflow.corpus.runs.store import Run
from ligflow.corpus.tables.schema import ATT, DIRECT, MAPS, MLP, RULES
from ligflow.errors import LigflowError
from ligflow.evaluation.bootstrap import Sums, add, alike, nothing, weights
from ligflow.evaluation.consistency import METRICS

Pair = tuple[str, str, str]  # ATT and MLP baseline, and the rule
Other = tuple[str, str | None, str | None, str | None]  # what is compared: the kind of map, and a pair
_NAMES = {"map": MAPS, "att": ATT, "mlp": MLP, "rule": RULES}


@dataclass(frozen=True, eq=False)
class Estimates:
    """`draws[b]` is a mean in draw b (0: over the sentences as they are), by all that it is a mean of.

    `others` are what is compared with direct maps: the composed maps, and each control. The last layer is
    all layers together. `clusters` are the sentences, as many as vary alike. `cells` is how many numbers a
    mean is of, `undefined` how many were not defined; where both are 0, this is not compared with this
    direct map.
    """

    units: tuple[str, ...]
    layers: tuple[int, ...]
    others: tuple[Other, ...]
    sentences: int
    clusters: int
    draws: Float[np.ndarray, "draw unit diagonal layer direct other metric"]
    cells: Int[np.ndarray, "unit diagonal layer direct other metric"]
    undefined: Int[np.ndarray, "unit diagonal layer direct other metric"]

    @property
    def mean(self) -> Float[np.ndarray, "unit diagonal layer direct other metric"]:
        """The means over the sentences as they are."""
        return self.draws[0]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs of baselines and rule whose composed maps are compared."""
        return tuple(
            (str(att), str(mlp), str(rule)) for kind, att, mlp, rule in self.others if kind == "composed"
        )

    @property
    def controls(self) -> tuple[str, ...]:
        """The kinds of maps that composed ones are held against."""
        return tuple(dict.fromkeys(kind for kind, *_ in self.others if kind != "composed"))

    def place(self, kind: str, pair: Pair) -> int | None:
        """Where a kind of map stands among the others: of this pair, or the one that all pairs share."""
        for other in ((kind, *pair), (kind, None, None, None)):
            if other in self.others:
                return self.others.index(other)
        return None


def estimate(run: Run, draws: int = 1000, seed: int = 0, genre: str | None = None) -> Estimates:
    """Means and draws over the finished shards, of all sentences or of those of a genre.

    Documents are drawn where a sentence has one, else sentences; and sentences where all are of one document,
    which cannot tell how documents differ. Raises LigflowError if there are no shards, one is damaged, no
    sentence is of the genre, or the draws are too few.
    """
    units = tuple(run.manifest["settings"]["units"])
    layers, others = _compared(run)
    shape = (len(units), 2, len(layers) + 1, len(DIRECT), len(others), len(METRICS))
    totals, rows = nothing(draws, int(np.prod(shape))), np.zeros(shape, dtype=np.int64)
    sizes: Counter[int] = Counter()
    clusters, sentences = clusters_of(run, genre), 0
    for shard in run.done:
        table = _of_genre(run.table(shard, "metrics"), clusters, genre)
        numbers, count = np.unique(table["sentence"].to_numpy(), return_counts=True)
        if not len(numbers):
            continue
        sums, counts, total = _by_sentence(table, numbers, units, layers, others, shape)
        keys = [clusters[int(number)] for number in numbers]
        add(totals, weights(seed, keys, draws), sums, counts)
        rows += total
        sentences += len(numbers)
        for key, of_one in zip(keys, count, strict=True):
            sizes[key] += int(of_one)
    if not sentences:
        raise LigflowError(f"No explained sentence of {str(run.folder)!r} is of the genre {genre!r}.")
    cells = totals.counts[0].reshape(shape).astype(np.int64)
    alike_ones = alike(np.array(list(sizes.values())))
    return Estimates(
        units, layers, others, sentences, alike_ones, _means(totals, shape), cells, rows - cells,
    )  # fmt: skip


def _of_genre(table: pa.Table, clusters: Mapping[int, int], genre: str | None) -> pa.Table:
    """The rows of a shard, or those of the sentences that have a cluster in a genre."""
    return (
        table
        if genre is None
        else table.filter(pc.is_in(table["sentence"], pa.array(list(clusters), pa.int64())))
    )


def _tables(run: Run) -> Iterator[pa.Table]:
    """The tables of metrics that have rows."""
    for shard in run.done:
        table = run.table(shard, "metrics")
        if table.num_rows:
            yield table


def _compared(run: Run) -> tuple[tuple[int, ...], tuple[Other, ...]]:
    """The layers that were explained (some cannot be split), and what is compared in all sentences."""
    for table in _tables(run):
        layers = tuple(sorted({int(layer) for layer in table["layer"].unique().to_pylist()}))
        kinds = table.group_by(list(_NAMES)).aggregate([]).to_pylist()
        others: list[Other] = [tuple(row[name] for name in _NAMES) for row in kinds]
        return layers, tuple(sorted(others, key=_order))
    raise LigflowError(
        f"No shard of {str(run.folder)!r} holds an explained sentence yet; run ligflow corpus run to its end."
    )


def _order(other: Other) -> list[int]:
    """In the order in which the schema names them."""
    return [
        -1 if name is None else known.index(name) for name, known in zip(other, _NAMES.values(), strict=True)
    ]


def _means(totals: Sums, shape: tuple[int, ...]) -> Float[np.ndarray, "draw *cell"]:
    """The mean of every cell in every draw, in place of the sums; NaN where none counts."""
    with np.errstate(invalid="ignore", divide="ignore"):
        np.divide(totals.sums, totals.counts, out=totals.sums)
    totals.sums[totals.counts == 0] = np.nan
    return totals.sums.reshape(-1, *shape)


# --- the sums of each sentence ------------------------------------------------------------------------


def _by_sentence(
    table: pa.Table,
    numbers: np.ndarray,
    units: Sequence[str],
    layers: Sequence[int],
    others: Sequence[Other],
    shape: tuple[int, ...],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums and counts [sentence, cell], and how many rows each cell has, defined or not."""
    places = (
        np.searchsorted(numbers, table["sentence"].to_numpy()),
        _codes(table, "unit", units),
        1 - np.asarray(table["diagonal"].to_numpy(), dtype=np.int64),
        np.searchsorted(np.asarray(layers), table["layer"].to_numpy()),
        _codes(table, "direct", DIRECT),
        _other(table, others),
    )
    cells = (len(numbers), *shape[:-1])
    line = np.ravel_multi_index(places, cells)
    size = int(np.prod(cells))
    every = [_of_metric(table, metric, line, size) for metric in METRICS]
    sums, counts, total = (
        np.stack(column, axis=-1).reshape(*cells, -1) for column in zip(*every, strict=True)
    )
    for values in (sums, counts, total):
        values[:, :, :, -1] = values[:, :, :, :-1].sum(axis=3)
    return (
        sums.reshape(len(numbers), -1),
        counts.reshape(len(numbers), -1),
        total.sum(axis=0).astype(np.int64),
    )


def _of_metric(
    table: pa.Table, metric: str, line: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums and counts of what is defined of a metric, and counts of all, by sentence and cell."""
    value = table[metric].to_numpy().astype(np.float64)
    defined = ~np.isnan(value)
    line_of, total = line[defined], np.bincount(line, minlength=size)
    if metric != "relative_l2":
        sums, counts = (np.bincount(line_of, weights=w, minlength=size) for w in (value[defined], None))
        return sums, counts.astype(np.float64), total
    apart, whole = (
        np.bincount(line_of, weights=table[name].to_numpy().astype(np.float64)[defined] ** 2, minlength=size)
        for name in ("l2", "norm")
    )
    known = whole > 0
    ratio = np.sqrt(apart / np.where(known, whole, 1)) * known
    return ratio, known.astype(np.float64), (total > 0).astype(np.int64)


def _codes(table: pa.Table, column: str, known: Sequence[str]) -> np.ndarray:
    """Places among the known names; -1 where there is no name."""
    codes = table[column].to_pandas().cat.set_categories(list(known)).cat.codes
    return codes.to_numpy().astype(np.int64)


def _other(table: pa.Table, others: Sequence[Other]) -> np.ndarray:
    """The place of what is compared among all that is."""
    sizes = [len(known) + 1 for known in _NAMES.values()]
    codes = [_codes(table, name, known) + 1 for name, known in _NAMES.items()]
    place = np.zeros(int(np.prod(sizes)), dtype=np.int64)
    for number, other in enumerate(others):
        place[np.ravel_multi_index([code + 1 for code in _order(other)], sizes)] = number
    return place[np.ravel_multi_index(codes, sizes)]
