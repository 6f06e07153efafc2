"""The text or the chat that a command explains: as typed, from a file, from standard input."""

from __future__ import annotations

import io
import json
import os.path
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ligflow.cli.options import TEXT, option
from ligflow.cli.streams import note
from ligflow.cli.usage_errors import Usage

_FILE_NAME = re.compile(
    r"\S+\.(txt|text|md|rst|json|jsonl|csv|tsv|conllu|html?|xml|pdf|docx?|odt|log|safetensors)"
)
_CHAT = 'give a list of messages: [{"role": "user", "content": "Hi"}].'
TextArgument = Annotated[
    str | None, typer.Argument(metavar="TEXT", help="The text, or - for standard input.")
]
TextFile = Annotated[Path | None, option("A file that holds the text.", TEXT, "--file", "-f")]
Chat = Annotated[
    Path | None,
    option("A JSON file of the messages of a chat, role and content; - for standard input.", TEXT, "--chat"),
]


def inputs_of(text: str | None, file: Path | None, chat: Path | None) -> str | list[dict[str, Any]]:
    """The text, or the messages of a chat. Raises Usage unless there is one of the three."""
    if chat is None:
        return text_of(text, file)
    if text is not None or file is not None:
        raise Usage("Give one: a text, --file with its file, or --chat with that of a chat.")
    return _messages(chat)


def _messages(chat: Path) -> list[dict[str, Any]]:
    """The messages of a JSON file, or of standard input for `-`. Raises Usage that names the one at fault."""
    name = "standard input" if str(chat) == "-" else repr(str(chat))
    try:
        messages = json.loads(_standard_input() if str(chat) == "-" else _content(chat))
    except UnicodeError as problem:
        raise Usage(f"The chat of {name} is not valid Unicode; give JSON in UTF-8.") from problem
    except (ValueError, RecursionError) as problem:
        raise Usage(f"{name} holds no JSON ({problem}); {_CHAT}") from problem
    if not isinstance(messages, list) or not messages:
        raise Usage(f"{name} holds no list of messages; {_CHAT}")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not {"role", "content"} <= {*message}:
            raise Usage(f"Message {number} of {name} has no role and content; {_CHAT}")
    return messages


def text_of(argument: str | None, file: Path | None = None) -> str:
    """The text: as typed, that of standard input for `-`, or that of a file. Raises Usage for none."""
    try:
        text = _read(argument, file)
        text.encode()
    except UnicodeError as problem:
        raise Usage("The text is not valid Unicode; give text in UTF-8.") from problem
    if not text.strip():
        raise Usage("The text is empty or blank; give at least one word.")
    return text


def _read(argument: str | None, file: Path | None) -> str:
    if argument is not None and file is None:
        return _standard_input() if argument == "-" else _typed(argument)
    if argument is None and file is not None:
        return _content(file)
    raise Usage('Give one text: "in quotation marks", - for standard input, or --file with its file.')


def _content(file: Path) -> str:
    """Files and pipes end their last line, which is not of the text."""
    try:
        return file.read_text(encoding="utf-8-sig").removesuffix("\n")
    except OSError as problem:
        raise Usage(f"Cannot read {str(file)!r}: {problem.strerror}.") from problem


def _standard_input() -> str:
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
    return sys.stdin.read().removesuffix("\n")


def _typed(text: str) -> str:
    """The text, which is not the name of a file; a note where it reads like the name of one."""
    if os.path.isfile(text):  # noqa: PTH113 - a text can be too long for a name, which pathlib raises
        raise Usage(f"{text!r} is a file; to explain the text in it give --file {text}, or - < {text}.")
    if _FILE_NAME.fullmatch(text.lower()):
        note(f"there is no file {text!r}, so its name is explained as a text; a file is read with --file.")
    return text
