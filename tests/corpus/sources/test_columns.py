"""Sentences in a column: JSON lines, CSV, TSV, Parquet."""

import collections
import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus_files import sentences, words_of, written
from ligflow import LigflowError
from ligflow.corpus.sources.readers import read
from ligflow.corpus.sources.selection import sentences_of
from ligflow.corpus.sources.sentence import BadLine, Sentence


def test_json_lines(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"id": 1, "text": "One."}, {"text": ["Two", "words"]}, "", {"text": None}, {"id": 3}, [1],
        {"text": " "},
    ]  # fmt: skip
    lines = [json.dumps(one) if one else "" for one in rows] + ["{broken"]
    found = list(read(written(tmp_path, "a.jsonl", "\n".join(lines))))
    assert [one.number for one in found] == list(range(7))
    assert isinstance(found[0], Sentence)
    assert isinstance(found[1], Sentence)
    assert (found[0].text, words_of(found[1])) == ("One.", ["Two", "words"])
    problems = [(one.place, one.problem) for one in found if isinstance(one, BadLine)]
    assert [place for place, _ in problems] == [f"a.jsonl:{n}" for n in (4, 5, 6, 7, 8)]
    for (_, problem), known in zip(
        problems, ["found NoneType", "has no 'text'; it has id", "JSON object", "found blank", "JSON object"],
        strict=True,
    ):  # fmt: skip
        assert known in problem


@pytest.mark.parametrize(
    "value", ['"hi \\ud83d there"', '"\\udc00"', '["two", "w\\ud800rds"]', '["ok", "\\udfff \\ud800"]']
)
def test_half_of_a_character_is_a_malformed_line(tmp_path: Path, value: str) -> None:
    content = f'{{"text": {value}}}\n{{"text": "ok \\ud83d\\ude00"}}\n{{"ke\\ud83dy": 1}}\n' + "[" * 99_999
    bad, good, key, deep = read(written(tmp_path, "a.jsonl", content))
    assert isinstance(good, Sentence)
    assert good.text == "ok 😀"
    assert isinstance(bad, BadLine)
    assert (bad.place, bad.problem[-29:]) == ("a.jsonl:1", "', half of a character, alone")
    assert isinstance(key, BadLine)
    assert key.problem == "the object has no 'text'; it has ke\\ud83dy"
    assert isinstance(deep, BadLine)
    for one in (bad, good, key, deep):
        str(one).encode()


def test_a_tsv_has_no_quotation(tmp_path: Path) -> None:
    text = 'sentence\tlabel\n"a wonderful film\t1\na dull film\t0\nok "\t0\nthe "end"\t1\n"all"\t1\n'
    for name, options in (("a.tsv", {}), ("a.tsv.gz", {}), ("a.txt", {"format": "tsv"})):
        source = written(tmp_path, name, gzip.compress(text.encode()) if name.endswith("gz") else text)
        found = sentences(source, **options)
        assert [one.text for one in found] == [
            '"a wonderful film',
            "a dull film",
            'ok "',
            'the "end"',
            '"all"',
        ]


def test_a_tsv_with_quoted_line_breaks(tmp_path: Path) -> None:
    """The first is malformed, and how the file is read is said; as CSV with tabs it is read."""
    source = written(tmp_path, "a.tsv", 'text\tlabel\n"two\nlines"\t1\nfine\t0\n')
    bad = next(read(source))
    assert isinstance(bad, BadLine)
    assert bad.place == "a.tsv:2"
    assert bad.problem.startswith("expected 2 columns, found 1; in a .tsv quotation marks are text")
    assert "--format csv" in bad.problem
    assert [one.text for one in sentences(source, format="csv")] == ["two\nlines", "fine"]


def test_csv_and_tsv(tmp_path: Path) -> None:
    text = 'id,sentence\n1,"One, with\na ""line"""\n2\n3,\n4,Four\n'
    found = list(read(written(tmp_path, "a.csv", text)))
    assert isinstance(found[0], Sentence)
    assert found[0].text == 'One, with\na "line"'
    assert [one.place for one in found] == ["a.csv:3", "a.csv:4", "a.csv:5", "a.csv:6"]
    assert [one.problem for one in found if isinstance(one, BadLine)] == [
        "expected 2 columns, found 1", "expected a text or a list of words, found blank",
    ]  # fmt: skip
    tabs = sentences(written(tmp_path, "a.tsv", "n\tbody\n1\tOne, two\n"), column="body")
    assert [one.text for one in tabs] == ["One, two"]
    bad = list(read(written(tmp_path, "b.csv", b"text\nfine\n\xff\xfe\n")))
    assert isinstance(bad[1], BadLine)
    assert "not UTF-8" in bad[1].problem


def test_parquet(tmp_path: Path) -> None:
    table = pa.table({"text": ["One.", None, "Three."], "words": [["A", "b"], ["c"], None]})
    pq.write_table(table, tmp_path / "a.parquet")
    found = list(read(str(tmp_path / "a.parquet")))
    assert [type(one) for one in found] == [Sentence, BadLine, Sentence]
    words = list(read(str(tmp_path / "a.parquet"), column="words"))
    assert isinstance(words[0], Sentence)
    assert words_of(words[0]) == ["A", "b"]
    assert words[2].place == "a.parquet:row 2"
    with pytest.raises(LigflowError, match="is no Parquet file"):
        read(written(tmp_path, "b.parquet", "text"))


def test_a_column_whose_name_has_a_point(tmp_path: Path) -> None:
    plain, nested = pa.array(["One.", "Two."]), pa.array([{"text": "no"}, {"text": "no"}])
    both = [["doc", "doc.text"], [nested, plain]], [["doc.text", "doc"], [plain, nested]]
    for names, columns in (*both, [["doc.text"], [plain]]):
        pq.write_table(pa.table(columns, names=names), tmp_path / "a.parquet")
        found = sentences(str(tmp_path / "a.parquet"), column="doc.text")
        assert [one.text for one in found] == ["One.", "Two."]
    pq.write_table(pa.table([nested, plain], names=["doc", "doc.text"]), tmp_path / "a.parquet")
    bad = next(read(str(tmp_path / "a.parquet"), column="doc"))
    assert isinstance(bad, BadLine)
    assert "found dict" in bad.problem


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    pq.write_table(pa.table([["One."], ["Two."]], names=["text", "text"]), tmp_path / "a.parquet")
    csv = written(tmp_path, "a.csv", "text,text\nOne.,Two.\n")
    for source in (csv, str(tmp_path / "a.parquet")):
        for column in (None, "text"):
            with pytest.raises(LigflowError, match="has several columns 'text'"):
                list(read(source, column=column))


def test_a_packed_csv_that_is_cut_short_ends_the_reading(tmp_path: Path) -> None:
    """Not a bad line for ever, which `skip_bad` would never get to the end of."""
    rows = "text\n" + "".join(f"row {draw}\n" for draw in random.Random(0).sample(range(10**9), 3000))
    packed = gzip.compress(rows.encode())
    items = sentences_of(read(written(tmp_path, "a.csv.gz", packed[:-99])), True, lambda _: None)
    with pytest.raises(LigflowError, match="cannot be read to its end"):
        collections.deque(itertools.islice(items, 5000), maxlen=0)
    with pytest.raises(LigflowError, match=r"names of the columns .* cannot be read"):
        list(read(written(tmp_path, "b.csv.gz", packed[:12])))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_columns_that_cannot_be_chosen(tmp_path: Path, name: str) -> None:
    content = '{"a": "x", "b": "y"}\n' if name == "a.jsonl" else "a,b\nx,y\n"
    source = written(tmp_path, name, content)
    with pytest.raises(LigflowError, match=r"Which column of .* holds the sentences.*'a', 'b'"):
        list(read(source))
    if name == "a.csv":
        with pytest.raises(LigflowError, match="has no column 'c'; it has 'a', 'b'"):
            list(read(source, column="c"))
