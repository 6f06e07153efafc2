"""What is explained: as typed, from a file, from standard input, or a chat; and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

import language_models
from command_line import TEXT, Run, assert_refused
from ligflow import Explainer  # fmt: skip
from ligflow.cli.text_input import text_of


@pytest.mark.parametrize(
    "stdin", [b"The cat sat.\n", b"The cat sat.\r\n", b"The cat sat.", b"\xef\xbb\xbfThe cat sat.\n"]
)
def test_a_dash_reads_standard_input_without_its_last_line_end(explain: Run, stdin: bytes) -> None:
    code, out, _ = explain("--json", "-", text="-", stdin=stdin)
    assert (code, json.loads(out)["meta"]["text"]) == (0, "The cat sat.")
    assert json.loads(out)["tokens"] == ["[CLS]", "the", "cat", "sat", ".", "[SEP]"]


def test_one_line_end_alone_is_no_text(explain: Run) -> None:
    _, out, _ = explain("--json", "-", "--route", "layer", text="-", stdin="The cat\n\n")
    assert json.loads(out)["meta"]["text"] == "The cat\n"


def test_trace_reads_standard_input_without_its_last_line_end(run: Run, tmp_path: Path) -> None:
    model = language_models.saved("gpt2", tmp_path / "model")
    asked = ["trace", "--model", model, "-t", "-1", "--map", "layer", "--paths", "0"]
    assert run(*asked, "-", stdin="the cat sat\n")[1] == run(*asked, "the cat sat")[1]


def test_a_file_holds_the_text(run: Run, model: str, tmp_path: Path) -> None:
    (tmp_path / "sent.txt").write_text("The naïve cat.\n", encoding="utf-8")
    asked = ("--model", model, "--route", "layer", "--json", "-")
    code, out, _ = run("explain", "--file", tmp_path / "sent.txt", *asked)
    assert (code, json.loads(out)["meta"]["text"]) == (0, "The naïve cat.")
    named = run("explain", tmp_path / "sent.txt", *asked)
    assert_refused(named, 2, "sent.txt' is a file", f"--file {tmp_path / 'sent.txt'}")
    assert_refused(run("explain", TEXT, "--file", tmp_path / "sent.txt"), 2, "Give one text")
    assert_refused(run("explain", "--file", tmp_path / "none.txt"), 2, "Cannot read", "No such file")
    (tmp_path / "latin.txt").write_bytes("naïve".encode("latin-1"))
    assert_refused(run("explain", "--file", tmp_path / "latin.txt"), 2, "give text in UTF-8")


CHAT = [{"role": "user", "content": "The cat?"}, {"role": "model", "content": "It sat."}]


TEMPLATE = "{% for one in messages %}{{ one.role }}: {{ one.content }}\n{% endfor %}"


@pytest.fixture(scope="module")
def chatty(model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same model, its tokenizer with a template of chats."""
    folder = shutil.copytree(model, tmp_path_factory.mktemp("chatty") / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_chat_is_explained_and_traced(run: Run, chatty: str, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(CHAT), encoding="utf-8")
    flow = Explainer.from_pretrained(chatty).explain(CHAT, routes="z2z")
    asked = ("--model", chatty, "--route", "layer", "--json", "-")
    for given, stdin in ((path, ""), ("-", json.dumps(CHAT))):
        code, out, err = run("explain", "--chat", given, *asked, stdin=stdin)
        found = json.loads(out)
        assert (code, err, found["tokens"]) == (0, "", flow.tokens)
        assert found["meta"]["text"] == "user: The cat?\nmodel: It sat.\n"
        np.testing.assert_allclose(found["maps"]["z2z"], flow.z2z, rtol=1e-4, atol=1e-6)
    _, out, _ = run("trace", "--chat", path, "--model", chatty, "--map", "layer", "-t", "sat")
    assert out.startswith("‘sat’ (9) after layer 1")


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{not json", "holds no JSON"),
        ("[" * 100_000, "holds no JSON"),
        ("{}", "holds no list of messages; give a list"),
        ("[]", "holds no list of messages"),
        ('["Hi"]', "Message 0 of "),
        ('[{"role": "user", "content": "Hi"}, {"role": "user"}]', "Message 1 of "),
    ],
    ids=["not json", "deep", "mapping", "empty", "text", "no content"],
)
@pytest.mark.parametrize("command", ["explain", "trace", "why"])
def test_a_file_without_messages_is_refused(
    run: Run, tmp_path: Path, command: str, text: str, said: str
) -> None:
    path = tmp_path / "chat.json"
    path.write_text(text, encoding="utf-8")
    assert_refused(run(command, "--chat", path), 2, said)
    assert_refused(run(command, "--chat", "-", stdin=text), 2, said)


@pytest.mark.usefixtures("no_model")
def test_a_chat_stands_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "chat.json").write_text(json.dumps(CHAT), encoding="utf-8")
    asked = ("--chat", tmp_path / "chat.json")
    assert_refused(run("explain", TEXT, *asked), 2, "Give one: a text, --file")
    assert_refused(run("explain", *asked, "--decoder-text", "x"), 2, "not with --chat")
    assert_refused(run("explain", "--chat", tmp_path / "none.json"), 2, "Cannot read", "No such file")


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize("text", ["", "  \n"])
def test_blank_text_is_bad_usage(run: Run, text: str) -> None:
    assert_refused(run("explain", text), 2, "empty or blank")
    assert_refused(run("explain", "-", stdin=text), 2, "empty or blank")


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # it depends on the locale
def test_text_that_is_not_utf8_is_bad_usage(run: Run, errors: str) -> None:
    assert_refused(run("explain", "-", stdin=b"bad \xff bytes", errors=errors), 2, "UTF-8")
    assert_refused(run("explain", "bad \udcff bytes"), 2, "UTF-8")


@pytest.mark.parametrize("text", ["- dash first", "-5 degrees", "--layers"])
def test_a_text_may_begin_with_a_dash_behind_two(run: Run, model: str, text: str) -> None:
    options = ("--model", model, "--route", "layer", "--layers", "0", "--json", "-")
    code, out, _ = run("explain", *options, "--", text)
    assert (code, json.loads(out)["meta"]["text"]) == (0, text)


def test_a_text_that_reads_like_the_name_of_a_file_is_noted(explain: Run) -> None:
    code, out, err = explain(text="notes.txt")
    assert code == 0
    assert out.splitlines()[1].startswith("‘")
    assert err.startswith("note: there is no file 'notes.txt', so its name is explained as a text; ")
    assert err.endswith("a file is read with --file.\n")


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        ("corpus/a.conllu", True), ("~/a.JSON", True), ("a.txt", True),
        ("see notes.txt", False), ("The end.", False), ("node.js", False), ("3.14", False), ("txt", False),
    ],
)  # fmt: skip
def test_what_reads_like_the_name_of_a_file(
    text: str, noted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert text_of(text) == text
    assert capsys.readouterr().err.startswith("note: ") == noted
