"""Runs that are small: five sentences, one layer; and when two of them hold the same."""

import signal
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from ligflow.corpus.runs.progress import Progress
from ligflow.corpus.runs.store import Run
from ligflow.corpus.sources.corpus import Corpus
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.experiment import Experiment
from ligflow.corpus.tables.schema import TABLES

TEXTS = ("The cat slept.", "Nobody saw the old light.", "Rain fell.", "She gave him a book.", "Why not?")
SMALL = Experiment(layers=(0,))


def corpus(texts: tuple[str, ...] = TEXTS, **about: Any) -> Corpus:
    def read() -> Iterator[Sentence]:
        return (Sentence(number, text, f"made:{number + 1}") for number, text in enumerate(texts))

    return Corpus(read, {"source": "made"} | about)


def tables(found: Run) -> dict[str, pa.Table]:
    return {
        name: pa.concat_tables([found.table(shard, name) for shard in found.done]).unify_dictionaries()
        for name in TABLES
    }


def equal(one: Run, other: Run) -> bool:
    ours, theirs = tables(one), tables(other)
    return all(ours[name].equals(theirs[name]) for name in TABLES)


def close(one: Run, other: Run) -> None:
    """The same rows, with numbers that differ by rounding; ranks may turn where values are equal."""
    for name in ("metrics", "cells"):
        ours, theirs = (table.to_pandas() for table in (tables(one)[name], tables(other)[name]))
        assert len(ours) == len(theirs)
        for column in ours.columns:
            if ours[column].dtype.kind != "f":
                if column not in ("nodes", "unmet"):
                    assert ours[column].astype(str).equals(theirs[column].astype(str)), column
            elif column in ("l2", "relative_l2", "normalised_l2", "pearson", "total"):
                gap = (ours[column] - theirs[column]).abs() / theirs[column].abs().clip(lower=1)
                assert (gap.dropna() < 1e-3).all(), column
                assert ours[column].isna().equals(theirs[column].isna()), column
            elif column in ("spearman", "top_k"):
                assert ((ours[column] - theirs[column]).abs().dropna() > 1e-3).mean() < 0.01, column


def stopping(after: int, presses: int = 1, sentences: int = 0) -> Any:
    """Presses Ctrl-C when some shards are done, and some sentences; `told.notes` are the answers."""
    left, notes = [signal.SIGINT] * presses, []

    def told(state: Progress) -> None:
        if state.note:
            notes.append(state.note)
        elif state.shards == after and state.sentences >= sentences:
            while left:
                signal.raise_signal(left.pop())

    told.notes = notes  # type: ignore[attr-defined]
    return told
