"""A question with the passages that its answer is to be found in, as one message to a model."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.inputs.chat import encode_chat
from ligflow.inputs.tokens import Tokens, encode
from ligflow.inputs.words import Span

_SHAPE = '{"question": "Who?", "passages": ["...", {"title": "A", "text": "..."}], "answer": "Ada"}'


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("it is blank")
    return text


Words = Annotated[str, AfterValidator(_not_blank)]
Line = Annotated[Words, AfterValidator(str.strip)]


class Passage(BaseModel):
    """A passage, and what it is called."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    text: Line
    title: Line | None = None

    @property
    def whole(self) -> str:
        """The passage as the model reads it, below its title."""
        return self.text if self.title is None else f"{self.title}\n{self.text}"


class _Schema(BaseModel):
    """What passages and their question are, field by field."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    question: Line
    passages: Annotated[tuple[Passage, ...], Field(min_length=1)]
    answer: Words | None = None


@dataclass(frozen=True)
class Passages:
    """A question and the passages that its answer is to be found in; `answer` is the one that is explained.

    The model reads one message: what to do, the passages with their numbers, and the question. `passages`
    are texts, or mappings with a text and a title. Raises LigflowError for anything else.
    """

    question: str
    passages: Sequence[str | Mapping[str, str] | Passage]
    answer: str | None = None

    def __post_init__(self) -> None:
        try:
            own = _Schema(question=self.question, passages=_as_parts(self.passages), answer=self.answer)
        except ValidationError as error:
            raise LigflowError(f"These are no passages with a question: {_first(error)}.") from error
        vars(self).update(question=own.question, passages=own.passages, answer=own.answer)

    @property
    def parts(self) -> tuple[Passage, ...]:
        """The passages with their titles."""
        return tuple(part for part in self.passages if isinstance(part, Passage))

    @property
    def names(self) -> tuple[str, ...]:
        """What the passages are called: by their number, and their title where they have one."""
        return tuple(
            f"passage {number}" + ("" if part.title is None else f": {part.title}")
            for number, part in enumerate(self.parts, 1)
        )

    @property
    def message(self) -> str:
        """What the model reads."""
        return "".join(text for _, text in self._pieces())

    @property
    def spans(self) -> tuple[Span, ...]:
        """Where each passage stands in the message."""
        spans, end = [], 0
        for is_passage, text in self._pieces():
            spans += [(end, end + len(text))] * is_passage
            end += len(text)
        return tuple(spans)

    def _pieces(self) -> Iterator[tuple[bool, str]]:
        """The parts of the message, and which are passages."""
        yield False, "Answer the question briefly, from the passages below.\n"
        for number, part in enumerate(self.parts, 1):
            yield False, f"\nPassage {number}: "
            yield True, part.whole
            yield False, "\n"
        yield False, f"\nQuestion: {self.question}"


def encode_passages(
    tokenizer: Any, passages: Passages, limit: int | None, truncate: bool
) -> tuple[dict[str, Tensor], Tokens]:
    """Model inputs and tokens of a question with passages: a user's message where there is a chat template.

    Raises LigflowError as `encode` does.
    """
    if getattr(tokenizer, "chat_template", None):
        message = {"role": "user", "content": passages.message}
        inputs, tokens = encode_chat(tokenizer, [message], limit, truncate)
        first = tokens.turns[0][1][0]
    else:
        inputs, tokens = encode(tokenizer, f"{passages.message}\nAnswer:", limit, truncate)
        first = 0
    if tokens.spans is None:
        raise LigflowError(
            f"{type(tokenizer).__name__} does not say where its tokens lie in the text, so passages cannot "
            "be told apart; use a fast tokenizer."
        )
    places = [(first + begin, first + end) for begin, end in passages.spans]
    return inputs, replace(tokens, passages=tuple(zip(passages.names, places, strict=True)))


def read_passages(path: str | Path) -> list[Passages]:
    """The questions with passages of a JSONL file, one a line.

    Raises LigflowError, with the line's number and the field, for a line that is none.
    """
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or "it is not valid UTF-8"
        raise LigflowError(f"Cannot read {str(path)!r}: {said}.") from error
    records = [_record(str(path), number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not records:
        raise LigflowError(f"{str(path)!r} holds no question; give a line for each: {_SHAPE}.")
    return records


def _record(name: str, number: int, line: str) -> Passages:
    where = f"Line {number} of {name!r}"
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LigflowError(f"{where} is no JSON ({error}); give {_SHAPE}.") from error
    if not isinstance(fields, Mapping):
        raise LigflowError(f"{where} holds {type(fields).__name__}; give {_SHAPE}.")
    others = sorted(str(field) for field in {*fields} - {"question", "passages", "answer"})
    if others:
        raise LigflowError(f"{where} has a field {others[0]!r} that is not known; give {_SHAPE}.")
    try:
        known: dict[str, Any] = {"question": None, "passages": None, **fields}
        return Passages(**known)
    except LigflowError as error:
        raise LigflowError(f"{where}: {error} Give {_SHAPE}.") from error


def _as_parts(passages: Any) -> Any:
    """Passages with the texts among them as mappings."""
    if not isinstance(passages, list | tuple):
        return passages
    return tuple({"text": part} if isinstance(part, str) else part for part in passages)


def _first(error: ValidationError) -> str:
    """The first fault: which field, and what is wrong with it."""
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"]) or "question"
    said = str(fault["msg"]).removeprefix("Value error, ")
    return f"{field}: {said[:1].lower()}{said[1:]}"
