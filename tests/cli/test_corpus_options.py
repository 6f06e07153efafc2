"""Options that name a corpus: they stand in the place of `part`, and reach the reader."""

import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from ligflow.cli.corpus_options import ALL, Part, corpus_of, enough_draws, with_part
from ligflow.cli.usage_errors import Usage


def test_the_options_of_a_part_stand_in_its_place() -> None:
    calls = []

    @with_part
    def command(source: str, part: Part = ALL, seed: int = 0) -> None:
        calls.append((source, part, seed))

    names = [field.name for field in fields(Part)]
    assert list(inspect.signature(command).parameters) == ["source", *names, "seed"]
    assert {*command.__annotations__} == {"source", *names, "seed"}
    values = dict.fromkeys(names) | {"start": 2, "column": "text"}
    command(source="a", seed=7, **values)
    assert calls == [("a", Part(start=2, column="text"), 7)]


def test_a_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "One."}\nbad\n{"text": "Two."}\n{"text": "Three."}\n')
    corpus = corpus_of(str(path), Part(start=1, end=4), skip_bad=True)
    for _ in range(2):  # read anew each time, bad lines too
        assert [sentence.text for sentence in corpus.read()] == ["Two.", "Three."]
        assert [bad.place for bad in corpus.bad] == ["a.jsonl:2"]
    assert corpus.file == path
    assert corpus.about["source"] == str(path.resolve())
    assert (corpus.about["start"], corpus.about["end"], corpus.about["sample"]) == (1, 4, None)
    drawn = [corpus_of(str(path), Part(sample=2), seed, True) for seed in range(8)]
    assert {tuple(sentence.number for sentence in each.read()) for each in drawn} == {(0, 2), (0, 3), (2, 3)}


def test_an_interval_takes_a_hundred_draws() -> None:
    assert enough_draws(100) == 100
    with pytest.raises(Usage, match="--draws is 99; an interval takes at least 100"):
        enough_draws(99)
