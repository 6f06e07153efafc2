"""A question with passages: one message, whose passages are known, also from a file of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from asked_models import byte_tokenizer
from ligflow import LigflowError, Passages
from ligflow.inputs.passages import encode_passages, read_passages

TWO = Passages("Which river is long?", ["The river is long.", {"title": "Rome", "text": "Rome is of Italy."}])
MESSAGE = (
    "Answer the question briefly, from the passages below.\n\nPassage 1: The river is long.\n\n"
    "Passage 2: Rome\nRome is of Italy.\n\nQuestion: Which river is long?"
)


def test_the_message_and_where_its_passages_stand() -> None:
    assert TWO.message == MESSAGE
    assert [MESSAGE[slice(*span)] for span in TWO.spans] == ["The river is long.", "Rome\nRome is of Italy."]
    assert TWO.names == ("passage 1", "passage 2: Rome")


def test_a_message_of_a_chat_or_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = byte_tokenizer()
    inputs, tokens = encode_passages(tokenizer, TWO, None, truncate=False)
    assert tokens.text == f"<|im_start|>user\n{MESSAGE}<|im_end|>\n<|im_start|>assistant\n"
    said = {name: tokens.text[slice(*span)] for name, span in tokens.passages}
    assert said == {"passage 1": "The river is long.", "passage 2: Rome": "Rome\nRome is of Italy."}
    assert inputs["input_ids"].shape == (1, len(tokens.labels))
    monkeypatch.setattr(tokenizer, "chat_template", None)
    _, plain = encode_passages(tokenizer, TWO, None, truncate=False)
    assert plain.text == f"{MESSAGE}\nAnswer:"
    assert [plain.text[slice(*span)] for _, span in plain.passages] == [*said.values()]


def test_a_file_of_questions(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    lines = [
        {"question": "Who?", "passages": ["Ada did.", {"text": "Bob did."}], "answer": " Ada"},
        {"question": "Where?", "passages": ["In Rome."]},
    ]
    path.write_text("\n\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    first, second = read_passages(path)
    assert first == Passages("Who?", ["Ada did.", "Bob did."], " Ada")
    assert second.answer is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Line 2 of .* is no JSON"),
        ("[]", "Line 2 of .* holds list"),
        ('{"question": "Who?"}', "Line 2 of .*passages: input should be a valid tuple"),
        ('{"question": "Who?", "passages": []}', "passages: tuple should have at least 1 item"),
        ('{"question": " ", "passages": ["a"]}', "question: it is blank"),
        ('{"question": "Who?", "passages": ["a", " "]}', "passages.1.text: it is blank"),
        ('{"question": "Who?", "passages": ["a", 3]}', "passages.1: input should be a valid dictionary"),
        ('{"question": "Who?", "passages": [{"text": "a", "url": "b"}]}', "passages.0.url: extra inputs"),
        (
            '{"question": "Who?", "passages": ["a"], "answers": "b"}',
            "has a field 'answers' that is not known",
        ),
        ('{"question": "Who?", "passages": ["a"], "answer": 3}', "answer: input should be a valid string"),
    ],
)
def test_a_line_that_is_no_question(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": "Who?", "passages": ["a"]}\n' + line, encoding="utf-8")
    with pytest.raises(LigflowError, match=message):
        read_passages(path)


def test_files_that_hold_none(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match=r"Cannot read .*No such file"):
        read_passages(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(LigflowError, match="holds no question; give a line for each"):
        read_passages(tmp_path / "empty.jsonl")


@pytest.mark.parametrize("passages", ["one text", None, 3])
def test_what_are_no_passages(passages: Any) -> None:
    with pytest.raises(LigflowError, match="no passages with a question: passages: "):
        Passages("Who?", passages)
