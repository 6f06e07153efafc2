"""Prompts for a tiny model of seven words, and runs on them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run
from ligflow.corpus.runs.worker import Model
from ligflow.corpus.sources.corpus import Corpus
from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.tables.prompt_settings import PromptSettings

PROMPTS = (
    Prompt(0, "the cat sat on the", "made:1", answer="mat", group="sitting"),
    Prompt(1, "a cat sat on a", "made:2", answer="mat", contrast="cat", group="sitting"),
    Prompt(2, "the mat", "made:3", group="sitting"),
    Prompt(3, "on the cat", "made:4", answer="sat", reference="on a mat", group="lying"),
    Prompt(4, "the cat on the", "made:5", answer="mat"),
)


def corpus(prompts: tuple[Prompt, ...] = PROMPTS, **about: Any) -> Corpus[Prompt]:
    def read() -> Iterator[Prompt]:
        return iter(prompts)

    return Corpus(read, {"source": "made"} | about)


def run_on(model: str, folder: Path, prompts: tuple[Prompt, ...] = PROMPTS, **options: Any) -> Run:
    known = {"shard_size": 2} | options
    return run(folder, corpus(prompts), Model(model), known.pop("settings", PromptSettings()), **known)


def tables(of_run: Run) -> dict[str, pa.Table]:
    return {
        name: pa.concat_tables([of_run.table(shard, name) for shard in of_run.done]).unify_dictionaries()
        for name in of_run.kind.tables
    }


def close(run_before: Run, run_after: Run) -> None:
    """The same rows, with numbers that differ by rounding, which threads and kernels of a process decide."""
    ours, theirs = tables(run_before), tables(run_after)
    assert ours.keys() == theirs.keys()
    for name, table in theirs.items():
        assert ours[name].schema == table.schema
        for column in table.column_names:
            values, expected = ours[name][column].to_pylist(), table[column].to_pylist()
            if pa.types.is_floating(table.schema.field(column).type):
                assert values == pytest.approx(expected, rel=1e-5, abs=5e-6, nan_ok=True), (name, column)
            else:
                assert values == expected, (name, column)
