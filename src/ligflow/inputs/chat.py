"""Messages of a chat as a text: through the tokenizer's template, of which what was said is told apart."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.inputs.tokens import Tokens, encode
from ligflow.inputs.words import Span

Messages = Sequence[Mapping[str, Any]]  # {"role": "user", "content": "Hi"}, ...
_NOTE = "a chat in the tokenizer's template, whose own tokens are all marked as special"


@dataclass(frozen=True)
class Chat(Sequence[Mapping[str, Any]]):
    """Messages of a chat, which the model's own template makes a text of; all but what they say is template.

    Where the user has the last word, the text ends where the answer begins. Raises LigflowError for what is
    no message with a role and a text.
    """

    messages: Messages

    def __post_init__(self) -> None:
        if not is_chat(self.messages):
            raise LigflowError(
                f"These are no messages of a chat: {str(self.messages)[:80]!r}; give a list of mappings with "
                'a role and a content: Chat([{"role": "user", "content": "Hi"}]).'
            )
        for number, message in enumerate(self.messages):
            _text(number, message)

    def __len__(self) -> int:
        """How many messages there are."""
        return len(self.messages)

    @overload
    def __getitem__(self, place: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> Messages: ...
    def __getitem__(self, place: int | slice) -> Mapping[str, Any] | Messages:
        """A message, or several."""
        return self.messages[place]


def is_chat(inputs: object) -> bool:
    """Whether these are messages: mappings with a role and a content."""
    return (
        isinstance(inputs, Sequence)
        and len(inputs) > 0
        and all(isinstance(one, Mapping) and {"role", "content"} <= {*one} for one in inputs)
    )


def encode_chat(
    tokenizer: Any, messages: Messages, limit: int | None, truncate: bool
) -> tuple[dict[str, Tensor], Tokens]:
    """Model inputs and tokens of a chat; where the user has the last word, up to where the answer begins.

    Raises LigflowError for a tokenizer without a template, one that refuses these messages, and for messages
    that do not stand in the text as they are.
    """
    said = [_text(number, message) for number, message in enumerate(messages)]
    plain = [dict(one) | {"content": text} for one, text in zip(messages, said, strict=True)]
    text = _rendered(tokenizer, plain)
    places = _frame_places(tokenizer, plain, text, said) or _places(text, said)
    inputs, tokens = encode(tokenizer, text, limit, truncate, said=places, notes=(_NOTE,))
    roles = (str(message["role"]) for message in messages)
    return inputs, replace(tokens, turns=tuple(zip(roles, places, strict=True)))


def _rendered(tokenizer: Any, messages: Messages) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise LigflowError(
            f"{type(tokenizer).__name__} has no chat template; pass the chat as one text that the model "
            "expects, or set tokenizer.chat_template."
        )
    asked = messages[-1]["role"] == "user"
    try:
        found = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=asked)
    except Exception as error:  # a template raises what it likes, e.g. for roles that do not alternate
        raise LigflowError(f"The chat template refuses these messages: {error}") from error
    return str(found)


def _text(number: int, message: Mapping[str, Any]) -> str:
    """What a message says. Raises LigflowError for what is no text, or is blank."""
    content = message["content"]
    if isinstance(content, Sequence) and not isinstance(content, str):
        parts = [one.get("text") if isinstance(one, Mapping) else None for one in content]
        content = "".join(parts) if all(isinstance(part, str) for part in parts) else None  # type: ignore[arg-type]
    if not isinstance(content, str) or not content.strip():
        raise LigflowError(
            f"Message {number} says {message['content']!r}; give each a role and a text that is not blank."
        )
    return content


def _frame_places(
    tokenizer: Any, messages: Messages, text: str, contents: Sequence[str]
) -> tuple[Span, ...] | None:
    """Where each message stands, by what the template writes around other ones; None where that differs.

    A message that the template's own text says too (a system text that it adds) is told from it by that.
    """
    marks = [f"\ue000{number}\ue001" for number in range(len(contents))]
    try:
        frame = _rendered(
            tokenizer, [dict(one) | {"content": mark} for one, mark in zip(messages, marks, strict=True)]
        )
    except LigflowError:  # a template that looks at what is said
        return None
    around: list[str] = []
    for mark in marks:
        before, at, frame = frame.partition(mark)
        if not at or frame.count(mark):
            return None
        around.append(before)
    return next(_filled(text, [*around, frame], contents), None)


def _filled(text: str, around: Sequence[str], contents: Sequence[str]) -> Iterator[tuple[Span, ...]]:
    """The places of contents, as they are or without blanks around them, where these make the text."""
    for trimmed in (False, True):
        spans, written = [], ""
        for before, content in zip(around, contents, strict=False):
            written += before
            said = content.strip()
            begin = len(written) + (0 if trimmed else content.find(said))
            spans.append((begin, begin + len(said)))
            written += said if trimmed else content
        if written + around[-1] == text:
            yield tuple(spans)


def _places(text: str, contents: Sequence[str]) -> tuple[Span, ...]:
    """Where each message stands in the text, one after the other."""
    spans: list[Span] = []
    for number, content in enumerate(contents):
        content = content.strip()  # as many templates do
        begin = text.find(content, spans[-1][1] if spans else 0)
        if begin < 0:
            raise LigflowError(
                f"The chat template leaves out or changes what message {number} says ({content[:60]!r}); "
                "pass the chat as one text that the model expects."
            )
        spans.append((begin, begin + len(content)))
    return tuple(spans)
