"""Finished runs whose tables are made up, so that every number of a report is known."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ligflow.corpus.runs.plan import begin, write_items
from ligflow.corpus.runs.store import Results, Run, open_run
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.experiment import VARIANTS, Experiment
from ligflow.corpus.tables.kinds import KINDS
from ligflow.corpus.tables.schema import CELLS, DIRECT, METRIC_ROWS, PAIRS, RULES, SENTENCES
from ligflow.evaluation.consistency import METRICS

Row = dict[str, Any]
Change = Callable[[Row], None]
OTHERS = [
    *(("composed", *pair, rule) for pair, rule in product(PAIRS, RULES)),
    *(("shuffled", *pair, rule) for pair, rule in product(PAIRS, RULES)),
    ("attention", None, None, None),
]


def run_by_hand(
    folder: Path,
    sentences: int = 12,
    shard_size: int = 5,
    layers: Sequence[int] = (0, 3),
    units: tuple[str, ...] = ("token",),
    change: Change = lambda row: None,
    left_out: dict[int, str] | None = None,
    cell: Change = lambda row: None,
    name: str = "made by hand",
    unfinished: int = 0,
    bad: Sequence[str] = (),
    drop: Callable[[Row], bool] = lambda row: False,
    about: Callable[[Sentence], Sentence] = lambda sentence: sentence,
) -> Run:
    """A run of 2 or 3 targets a sentence; `change`, `cell` and `about` have a last look at what is made."""
    reasons = left_out or {}
    texts = [about(Sentence(n, f"Sentence {n}.", f"made:{n + 1}")) for n in range(sentences)]
    planned = write_items(folder, texts, shard_size, KINDS["consistency"])
    about: Row = {"fingerprint": planned.fingerprint, "source": "made", "bad_lines": len(bad), "file": None}
    model: Row = {"name": name, "layers": 4, "dtype": "float32", "weights": "as loaded", "revision": None}
    begin(folder, {
        "model": model | {"fingerprint": "0"}, "settings": Experiment(units=units).describe(),
        "corpus": about | {"left_out_lines": list(bad)}, "ligflow": "0", "versions": {"torch": "0"},
        "shard_size": shard_size, "sentences": planned.count, "shards": planned.shards,
    })  # fmt: skip
    found = open_run(folder)
    for shard in range(planned.shards - unfinished):
        numbers = [one.number for one in texts[shard * shard_size : (shard + 1) * shard_size]]
        known = [n for n in numbers if n not in reasons]
        rows = [
            {"sentence": n, "place": f"made:{n + 1}", "tokens": None if n in reasons else 5,
             "left_out": reasons.get(n)} for n in numbers
        ]  # fmt: skip
        found.write(shard, Results({
            "sentences": pa.Table.from_pylist(rows, schema=SENTENCES),
            "metrics": pa.Table.from_pylist(
                [row for row in metric_rows(known, layers, units, change) if not drop(row)], METRIC_ROWS
            ),
            "cells": pa.Table.from_pylist(list(cell_rows(known, layers, cell)), CELLS),
        }))  # fmt: skip
    return found


def metric_rows(
    sentences: Sequence[int], layers: Sequence[int], units: Sequence[str], change: Change
) -> Iterator[Row]:
    """Noise of the sentence and of the cell; the same for a sentence wherever it is written."""
    for sentence in sentences:
        draw = np.random.default_rng(sentence)
        for unit, layer, target, direct, other, diagonal in product(
            units, layers, range(2 + sentence % 2), DIRECT, OTHERS, (True, False)
        ):
            kind, att, mlp, rule = other
            row: Row = {
                "sentence": sentence, "unit": unit, "layer": layer, "target": target, "direct": direct,
                "map": kind, "att": att, "mlp": mlp, "rule": rule, "diagonal": diagonal, "sources": 5,
                "norm": 1.0,
            }  # fmt: skip
            row |= dict(zip(METRICS, draw.uniform(0.2, 0.8, len(METRICS)), strict=True))
            change(row)
            yield row


def cell_rows(sentences: Sequence[int], layers: Sequence[int], change: Change) -> Iterator[Row]:
    """Integrals with a certificate of 1e-4, 10 points."""
    for sentence, layer, target, (route, baseline) in product(sentences, layers, range(2), VARIANTS):
        row: Row = {
            "sentence": sentence, "layer": layer, "target": target, "token": "a", "route": route,
            "baseline": baseline, "cells": 4 if route == "z2u" else 1, "total": 2.0, "certificate": 1e-4,
            "estimated_error": 1e-4, "unmet": 0, "nodes": 10, "origin_mass": 0.01, "flipped": 0,
        }  # fmt: skip
        change(row)
        yield row
