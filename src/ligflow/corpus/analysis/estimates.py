"""Every mean of a run with its draws, taken from the shards one at a time.

Draw b of a mean is `sum_s w_bs x_s / sum_s w_bs n_s` over sentences s, whose `n_s` rows sum to `x_s`; the
weights are those of a Poisson bootstrap over sentences [chamandy2012].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int

from ligflow.corpus.runs.store import Run
from ligflow.corpus.tables.schema import DIRECT, RULES
from ligflow.corpus.tables.schema import PAIRS as BASELINES
from ligflow.errors import LigflowError
from ligflow.evaluation.bootstrap import Sums, add, means, nothing, weights
from ligflow.evaluation.consistency import METRICS

PAIRS = [(*pair, rule) for pair in BASELINES for rule in RULES]
COMPOSED, SHUFFLED = slice(0, len(PAIRS)), slice(len(PAIRS), 2 * len(PAIRS))
ATTENTION = SHUFFLED.stop
_OTHERS = ATTENTION + 1
_KINDS = ("composed", "shuffled", "attention")


@dataclass(frozen=True, eq=False)
class Estimates:
    """`draws[b]` is a mean in draw b (0: over the sentences as they are), by all that it is a mean of.

    `others` are the composed maps (in the order of PAIRS), the same shuffled, and raw attention; the
    last layer is all layers together. `cells` is how many numbers a mean is of, `undefined` how many were
    not defined.
    """

    units: tuple[str, ...]
    layers: tuple[int, ...]
    sentences: int
    draws: Float[np.ndarray, "draw unit diagonal layer direct other metric"]
    cells: Int[np.ndarray, "unit diagonal layer direct other metric"]
    undefined: Int[np.ndarray, "unit diagonal layer direct other metric"]

    @property
    def mean(self) -> Float[np.ndarray, "unit diagonal layer direct other metric"]:
        """The means over the sentences as they are."""
        return self.draws[0]


def estimate(run: Run, draws: int = 1000, seed: int = 0) -> Estimates:
    """Means and draws over the finished shards.

    Raises LigflowError if there are none, one is damaged, or the draws are too few.
    """
    units = tuple(run.manifest["settings"]["units"])
    layers = _layers(run)
    shape = (len(units), 2, len(layers), len(DIRECT), _OTHERS, len(METRICS))
    size = int(np.prod(shape))
    totals, rows = nothing(draws, size), np.zeros(size, dtype=np.int64)
    sentences = 0
    for shard in run.done:
        table = run.table(shard, "metrics")
        table = table.filter(pc.is_in(table["map"].cast("string"), pa.array(_KINDS)))
        numbers = np.unique(table["sentence"].to_numpy())
        if not len(numbers):
            continue
        sums, counts, total = _by_sentence(table, numbers, units, layers, shape)
        add(totals, weights(seed, numbers.tolist(), draws), sums, counts)
        rows += total.astype(np.int64)
        sentences += len(numbers)
    if not sentences:
        raise LigflowError(
            f"No sentence of {str(run.folder)!r} was explained, so there is nothing to report."
        )
    return _estimates(units, layers, sentences, totals, rows.reshape(shape), shape)


def _layers(run: Run) -> tuple[int, ...]:
    """The layers that were explained; those that cannot be split are left out of a run."""
    for shard in run.done:
        table = run.table(shard, "metrics")
        if table.num_rows:
            return tuple(sorted({int(layer) for layer in table["layer"].unique().to_pylist()}))
    raise LigflowError(
        f"No shard of {str(run.folder)!r} holds an explained sentence yet; run ligflow corpus run to its end."
    )


def _by_sentence(
    table: pa.Table,
    numbers: np.ndarray,
    units: Sequence[str],
    layers: Sequence[int],
    shape: tuple[int, ...],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums and counts [sentence, cell], and how many rows each cell has, defined or not."""
    places = (
        _codes(table, "unit", units),
        1 - np.asarray(table["diagonal"].to_numpy(), dtype=np.int64),
        np.searchsorted(np.asarray(layers), table["layer"].to_numpy()),
        _codes(table, "direct", DIRECT),
        _other(table),
    )
    cell = np.ravel_multi_index(places, shape[:-1])
    cells = int(np.prod(shape[:-1]))
    line = np.searchsorted(numbers, table["sentence"].to_numpy()) * cells + cell
    sums, counts = [], []
    for metric in METRICS:
        value = table[metric].to_numpy().astype(np.float64)
        defined = ~np.isnan(value)
        size = len(numbers) * cells
        sums.append(np.bincount(line[defined], weights=value[defined], minlength=size))
        counts.append(np.bincount(line[defined], minlength=size).astype(np.float64))
    total = np.repeat(np.bincount(cell, minlength=cells), len(METRICS))
    return _wide(sums, len(numbers)), _wide(counts, len(numbers)), total


def _wide(columns: Sequence[np.ndarray], sentences: int) -> np.ndarray:
    """[sentence, cell and metric] from one column a metric."""
    return np.stack(columns, axis=-1).reshape(sentences, -1)


def _codes(table: pa.Table, column: str, known: Sequence[str]) -> np.ndarray:
    """Places among the known names; -1 where there is no name."""
    codes = table[column].to_pandas().cat.set_categories(list(known)).cat.codes
    return codes.to_numpy().astype(np.int64)


def _other(table: pa.Table) -> np.ndarray:
    """The place of what is compared among all that is."""
    columns = [table[name].to_pylist() for name in ("map", "att", "mlp", "rule")]
    places = {("attention", None, None, None): ATTENTION}
    for kind, start in (("composed", COMPOSED.start), ("shuffled", SHUFFLED.start)):
        places |= {(kind, *pair): start + number for number, pair in enumerate(PAIRS)}
    return np.array([places[names] for names in zip(*columns, strict=True)], dtype=np.int64)


def _estimates(
    units: tuple[str, ...],
    layers: tuple[int, ...],
    sentences: int,
    totals: Sums,
    rows: np.ndarray,
    shape: tuple[int, ...],
) -> Estimates:
    whole = Sums(_with_all(totals.sums, shape), _with_all(totals.counts, shape))
    wide = (*shape[:2], shape[2] + 1, *shape[3:])
    cells = whole.counts[0].reshape(wide).astype(np.int64)
    every = np.concatenate([rows, rows.sum(axis=2, keepdims=True)], axis=2)
    draws = means(whole).reshape(-1, *wide)
    return Estimates(units, layers, sentences, draws, cells, every - cells)


def _with_all(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """All layers together as one more layer."""
    apart = values.reshape(len(values), *shape)
    return np.concatenate([apart, apart.sum(axis=3, keepdims=True)], axis=3).reshape(len(values), -1)
