"""Messages of a chat as a text: through the tokenizer's template, of which what was said is told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.inputs.tokens import Tokens, encode
from ligflow.inputs.words import Span

Chat = Sequence[Mapping[str, Any]]  # {"role": "user", "content": "Hi"}, ...
_NOTE = "a chat in the tokenizer's template, whose own tokens are all marked as special"


def is_chat(inputs: object) -> bool:
    """Whether these are messages: mappings with a role and a content."""
    return (
        isinstance(inputs, Sequence)
        and len(inputs) > 0
        and all(isinstance(one, Mapping) and {"role", "content"} <= {*one} for one in inputs)
    )


def encode_chat(
    tokenizer: Any, messages: Chat, limit: int | None, truncate: bool
) -> tuple[dict[str, Tensor], Tokens]:
    """Model inputs and tokens of a chat; where the user has the last word, up to where the answer begins.

    Raises LigflowError for a tokenizer without a template, one that refuses these messages, and for messages
    that do not stand in the text as they are.
    """
    said = [_text(number, message) for number, message in enumerate(messages)]
    plain = [dict(one) | {"content": text} for one, text in zip(messages, said, strict=True)]
    text = _rendered(tokenizer, plain)
    places = _places(text, said)
    inputs, tokens = encode(tokenizer, text, limit, truncate, said=places, notes=(_NOTE,))
    roles = (str(message["role"]) for message in messages)
    return inputs, replace(tokens, turns=tuple(zip(roles, places, strict=True)))


def _rendered(tokenizer: Any, messages: Chat) -> str:
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
