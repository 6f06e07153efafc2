"""Prompts in columns: what is read, and what is refused, by its line."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus_files import written
from ligflow import LigflowError
from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.sources.readers import read_prompts
from ligflow.corpus.sources.selection import select, sentences_of
from ligflow.corpus.sources.sentence import BadLine
from ligflow.inputs.passages import Passage, Passages


def problems(items: Any) -> list[tuple[str, str]]:
    return [(item.place, item.problem) for item in items if isinstance(item, BadLine)]


def test_json_lines(tmp_path: Path) -> None:
    passages = ["Ada.", {"title": "A", "text": "Bo."}]
    rows: list[Any] = [
        {"prompt": "Who? ", "answer": " Ada", "contrast": " Bo", "reference": "What?", "group": 3},
        {"prompt": "Who?", "passages": passages, "answer": None}, {"answer": " Ada"},
        {"prompt": " "}, {"prompt": "Who?", "answr": "Ada"}, {"prompt": 7},
        {"prompt": "Who?", "answer": 7}, {"prompt": "Who?", "passages": []},
        {"prompt": "Who?", "passages": "Ada"}, {"prompt": "Who?", "passages": [{"text": "A", "page": "1"}]},
        {"prompt": "Who?", "answer": "\ud83d"},
    ]  # fmt: skip
    content = "\n".join(map(json.dumps, rows)) + "\n\n{broken"
    items = list(read_prompts(written(tmp_path, "a.jsonl", content)))
    assert items[0] == Prompt(0, "Who? ", "a.jsonl:1", " Ada", " Bo", "What?", group="3")
    assert items[1] == Prompt(
        1, "Who?", "a.jsonl:2", passages=(Passage(text="Ada."), Passage(text="Bo.", title="A"))
    )
    assert isinstance(items[1].inputs, Passages)
    bad = problems(items)
    assert [place for place, _ in bad] == [f"a.jsonl:{line}" for line in (*range(3, 12), 13)]
    for (_, said), known in zip(
        bad,
        ["has no 'prompt'; it has answer", "found a blank one", "a field 'answr' that is not known",
         "expected a text as prompt, found int", "expected a text as answer, found int",
         "passages: tuple should have at least 1 item", "expected passages as a list", "passages.0.page",
         "as answer, found '\\ud83d', half of a character", "expected a JSON object"],
        strict=True,
    ):  # fmt: skip
        assert known in said
    with pytest.raises(LigflowError, match=r"a.jsonl:3: the object has no 'prompt'.*--skip-bad"):
        list(sentences_of(items, False, bad.append))
    assert [item.number for item in sentences_of(select(items, 1), True, bad.append)] == [1]


def test_tables_with_the_same_columns(tmp_path: Path) -> None:
    rows = {"prompt": ["Who?", "What, then?"], "answer": [" Ada", None], "passages": [["A.", "B."], None]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    lines = ["prompt,answer,passages", 'Who?, Ada,"[""A."", ""B.""]"', '"What, then?",,']
    as_csv = written(tmp_path, "a.csv", "\n".join(lines))
    both = [list(read_prompts(source)) for source in (str(tmp_path / "a.parquet"), as_csv)]
    for first, second in both:
        assert isinstance(first, Prompt)
        assert isinstance(second, Prompt)
        assert (first.text, first.answer) == ("Who?", " Ada")
        assert first.passages == (Passage(text="A."), Passage(text="B."))
        assert (second.text, second.answer, second.passages) == ("What, then?", None, None)


def test_columns_of_other_names(tmp_path: Path) -> None:
    source = written(tmp_path, "a.csv", "id,question,target\n1,Who?, Ada\n")
    (prompt,) = read_prompts(source, columns="prompt=question, answer=target")
    assert prompt == Prompt(0, "Who?", "a.csv:2", " Ada")
    lines = written(tmp_path, "a.jsonl", '{"id": 1, "question": "Who?"}\n{"id": 2}')
    first, second = read_prompts(lines, columns="prompt=question")
    assert (first.number, problems([second])) == (
        0,
        [("a.jsonl:2", "the object has no 'question'; it has id")],
    )


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (None, "has no column 'prompt'; it has 'id', 'question', 'target'. Say which .*--columns"),
        ("prompt=text", "has no column 'text'"),
        ("answer=target", "names no prompt"),
        ("prompt=question,solution=target", "names 'solution', which no prompt has; choose from prompt,"),
        ("prompt=question,prompt=id", "names 'prompt' twice"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, columns: str | None, said: str) -> None:
    source = written(tmp_path, "a.csv", "id,question,target\n1,Who?, Ada\n")
    with pytest.raises(LigflowError, match=said):
        list(read_prompts(source, columns=columns))


def test_a_column_that_is_not_known_and_one_that_stands_twice(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match=r"a column 'difficulty' that is not known .*--columns prompt="):
        list(read_prompts(written(tmp_path, "a.csv", "prompt,difficulty\nWho?,1\n")))
    with pytest.raises(LigflowError, match="several columns 'prompt'"):
        list(read_prompts(written(tmp_path, "a.csv", "prompt,prompt\nWho?,1\n")))


def test_what_holds_no_prompts(tmp_path: Path) -> None:
    whole = tmp_path / "a.parquet"
    pq.write_table(pa.table({"prompt": ["Who?"] * 9999}), whole)
    (tmp_path / "b.parquet").write_bytes(whole.read_bytes()[:-40])
    for source, said in (
        (str(tmp_path / "b.parquet"), "is no Parquet file"),
        (written(tmp_path, "a.txt", "Who?"), r"Prompts stand in columns \(jsonl, csv, tsv, parquet\); text"),
        ("embedded:sentences", "holds sentences and no prompts"),
        (str(tmp_path / "none.jsonl"), "There is no corpus"),
    ):
        with pytest.raises(LigflowError, match=said):
            list(read_prompts(source))
