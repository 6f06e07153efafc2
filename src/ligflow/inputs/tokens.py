"""Text in, tokens out: labels, special marks, words, and the limits of a model's positions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.inputs.character_pieces import named_by_character, pieces_note
from ligflow.inputs.token_text import known_name
from ligflow.inputs.words import NOTE, Span, Words, words_of

_UNLIMITED = 10**9


@dataclass(frozen=True)
class Tokens:
    """What the sources and targets of one example are called.

    `words[i]` numbers the word that token i belongs to; None where the text or its offsets are unknown.
    `word_places[w]` is the place of that word among those of the text, -1 for a special token. `layout` says
    where tokens lie in an image or a recording. `spans` are where they stand in the text, as far as the
    tokenizer tells; of a chat `turns` are who says what, and where that stands, and `passages` likewise.
    """

    labels: tuple[str, ...]
    special: tuple[bool, ...]
    words: tuple[int, ...] | None = None
    word_labels: tuple[str, ...] = ()
    text: str | None = None
    word_places: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    layout: Mapping[str, Any] = field(default_factory=dict)
    spans: tuple[Span, ...] | None = None
    turns: tuple[tuple[str, Span], ...] = ()
    passages: tuple[tuple[str, Span], ...] = ()


def encode(
    tokenizer: Any,
    text_or_words: str | Words,
    limit: int | None,
    truncate: bool = False,
    said: Sequence[Span] | None = None,
    notes: tuple[str, ...] = (),
) -> tuple[dict[str, Tensor], Tokens]:
    """Model inputs and tokens of a text; each token belongs to the word that its first character is in.

    Special are the tokens that the tokenizer marks off, also where they stand in the text, which then has no
    second one before or behind it. Of a chat `said` is what was said: all else is special. Given words that
    share a token are one, with a note. Raises LigflowError for blank text, for text beyond
    `limit` unless `truncate` is given, and for a given word that the tokenizer drops.
    """
    text = text_or_words.text if isinstance(text_or_words, Words) else text_or_words
    if tokenizer is None:
        raise LigflowError(
            "Text needs a tokenizer: Explainer(model, tokenizer), or pass a mapping of tensors."
        )
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise LigflowError("The text is not valid Unicode; give text in UTF-8.")
    if not text.strip():
        raise LigflowError("The text is empty or blank; give at least one word.")
    encoded, doubled = _once(tokenizer, _encoded(tokenizer, text, truncation=False))
    length = len(encoded["input_ids"])
    if limit is not None and length > limit and not truncate:
        raise LigflowError(
            f"The text has {length} tokens, and the model takes {limit}. "
            "Shorten it, or cut it with truncate=True (--truncate)."
        )
    if limit is not None and length > limit:
        again = _encoded(tokenizer, text, truncation=True, max_length=limit + sum(map(len, doubled)))
        encoded, _ = _once(tokenizer, again)
    offsets, ids = encoded.pop("offsets"), encoded["input_ids"]
    special = _marks(tokenizer, text_or_words, ids, encoded.pop("special_tokens_mask"), offsets, said)
    tokens = _with_words(tokenizer, text_or_words, ids, special, offsets)
    places = None if offsets is None else tuple((int(low), int(high)) for low, high in offsets)
    tokens = replace(
        tokens, notes=(*notes, *_doubled(doubled), *tokens.notes, *pieces_note(tokens.labels)), spans=places
    )
    inputs = {name: torch.tensor([ids], device="cpu") for name, ids in encoded.items()}
    return inputs, tokens


def _encoded(tokenizer: Any, text: str, **options: Any) -> Any:
    """The tokenizer's own answer. Raises LigflowError, with the text's beginning, where there is none."""
    try:
        encoded = tokenizer(text, padding=False, return_special_tokens_mask=True, verbose=False, **options)
    except Exception as error:  # tokenizers of the `tokenizers` library raise no narrower one
        said = str(error).strip().partition("\n")[0]
        raise LigflowError(
            f"{type(tokenizer).__name__} cannot encode the text {_beginning(text)}: {type(error).__name__}: "
            f"{said}. Change the text, or give the tokenizer a token for what it does not know."
        ) from error
    if not len(encoded["input_ids"]):
        raise LigflowError(
            f"{type(tokenizer).__name__} makes no token of the text {_beginning(text)}: its vocabulary has "
            "none of it. Give other text, or the model's own tokenizer."
        )
    return encoded


def _once(tokenizer: Any, encoded: Any) -> tuple[dict[str, Any], tuple[tuple[str, ...], tuple[str, ...]]]:
    """The answer without special tokens that the text itself has at its ends, and which these are."""
    marks, ids = list(encoded["special_tokens_mask"]), list(encoded["input_ids"])
    first = next((place for place, mark in enumerate(marks) if not mark), 0)
    last = next((place for place, mark in enumerate(reversed(marks)) if not mark), 0)
    first = first if ids[:first] == ids[first : 2 * first] else 0
    last = last if last and ids[-last:] == ids[-2 * last : -last] else 0
    own = slice(first, len(ids) - last)
    kept: dict[str, Any] = {name: list(values)[own] for name, values in encoded.items()}
    offsets = _offsets(encoded)
    kept["offsets"] = None if offsets is None else offsets[own]
    names = _labels(tokenizer, ids)
    return kept, (names[:first], names[len(ids) - last :])


def _doubled(names: tuple[tuple[str, ...], tuple[str, ...]]) -> Iterator[str]:
    for said, where in zip(names, ("begins", "ends"), strict=True):
        if said:
            yield f"the text {where} with {' '.join(said)} itself, so the tokenizer's own is left out"


def _marks(
    tokenizer: Any,
    text_or_words: str | Words,
    ids: Sequence[int],
    added: Sequence[int],
    offsets: Sequence[Span] | None,
    said: Sequence[Span] | None,
) -> tuple[bool, ...]:
    """Which tokens are special. Words that are given are words, whatever they say."""
    known = set() if isinstance(text_or_words, Words) else special_ids(tokenizer)
    marks = [bool(mark) or number in known for mark, number in zip(added, ids, strict=True)]
    if said is not None and offsets is not None:
        inside = [any(low < end and begin < high for begin, end in said) for low, high in offsets]
        marks = [mark or not one for mark, one in zip(marks, inside, strict=True)]
    return tuple(marks)


def special_ids(tokenizer: Any) -> set[int]:
    """Tokens that mark off a text or its parts; not those that stand for a part of it: [MASK], [UNK]."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    found = {*tokenizer.all_special_ids, *(number for number, token in added.items() if token.special)}
    ends = {getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "eos", "cls", "sep", "pad")}
    content = {getattr(tokenizer, f"{name}_token_id", None) for name in ("mask", "unk")}
    return found - (content - ends)


def _beginning(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:60]!r}..."


def name_inputs(tokenizer: Any, inputs: Mapping[str, Any], count: int) -> Tokens:
    """Tokens of ready-made model inputs: from their ids if each has one, else numbers."""
    ids = inputs.get("input_ids")
    if ids is None or ids.shape != (1, count):
        return Tokens(tuple(map(str, range(count))), (False,) * count)
    if tokenizer is None:
        return Tokens(tuple(f"#{int(i)}" for i in ids[0]), (False,) * count)
    marks = special_ids(tokenizer)
    labels = _labels(tokenizer, ids[0].tolist())
    return Tokens(labels, tuple(int(i) in marks for i in ids[0]), notes=pieces_note(labels))


def name_parts(parts: int, count: int) -> Tokens:
    """`1:0` is the first token of the second part, for layers that take parts of an example apart."""
    each = count // parts
    note = (
        f"the layers take the example as {parts} parts (frames, tiles, ...); 1:0 is the first token of part 1"
    )
    return Tokens(
        tuple(f"{number // each}:{number % each}" for number in range(count)), (False,) * count, notes=(note,)
    )


def text_config(config: Any) -> Any:
    """The part of a config that is about text; all of it where several parts are."""
    try:
        return config.get_text_config()
    except ValueError:
        return config


def position_limit(model: Any, tokenizer: Any) -> int | None:
    """The most tokens that tokenizer and model say they take; None if neither does."""
    config = text_config(model.config)
    said = [getattr(tokenizer, "model_max_length", None), getattr(config, "max_position_embeddings", None)]
    limits = [int(limit) for limit in said if limit and 0 < limit < _UNLIMITED]
    return min([*limits, *_behind_padding(model)], default=None)


def _behind_padding(model: Any) -> Iterator[int]:
    """How many positions there are in tables where the first one stands behind that of padding (RoBERTa)."""
    for part in model.modules():
        padding = getattr(part, "padding_idx", None)
        if padding is None:
            continue
        for name, table in part.named_children():
            weight = getattr(table, "weight", None)  # none where positions are computed, as many as it takes
            if "position" in name and getattr(table, "padding_idx", None) == padding and weight is not None:
                yield len(weight) - padding - 1


def _labels(tokenizer: Any, ids: list[int]) -> tuple[str, ...]:
    """The vocabulary's own strings, pieces by the character that they share; an id beyond it is a number."""
    names = [known_name(tokenizer, number) for number in ids]
    labels = [
        f"#{number}" if name is None else _label(tokenizer, name)
        for number, name in zip(ids, names, strict=True)
    ]
    return tuple(named_by_character(tokenizer, names, labels))


def _label(tokenizer: Any, name: str) -> str:
    """Byte-level codes turned back into text where that works."""
    shown = tokenizer.convert_tokens_to_string([name])
    return shown if shown.strip() and "\ufffd" not in shown else name


def _offsets(encoded: Any) -> list[tuple[int, int]] | None:
    """Character spans of the tokens; only tokenizers of the `tokenizers` library know them."""
    encodings = getattr(encoded, "encodings", None)
    return list(encodings[0].offsets) if encodings else None


def _with_words(
    tokenizer: Any,
    text_or_words: str | Words,
    ids: list[int],
    special: tuple[bool, ...],
    offsets: list[tuple[int, int]] | None,
) -> Tokens:
    labels = _labels(tokenizer, ids)
    text = text_or_words.text if isinstance(text_or_words, Words) else text_or_words
    if offsets is None:
        if isinstance(text_or_words, Words):
            raise LigflowError(
                f"{type(tokenizer).__name__} does not say where its tokens lie in the text, so they cannot "
                "be told apart by words; use a fast tokenizer, or pass the text without words."
            )
        return Tokens(labels, special, text=text)
    spans, pieces = (
        (text_or_words.spans, False) if isinstance(text_or_words, Words) else words_of(text, offsets)
    )
    owner = [-1 if mark else _word_at(text, span, spans) for mark, span in zip(special, offsets, strict=True)]
    joined = _joined(owner, offsets, text_or_words) if isinstance(text_or_words, Words) else {}
    numbers: list[int] = []
    names: list[str] = []
    places: list[int] = []
    for index, word in enumerate(owner):
        if index == 0 or word == -1 or word != owner[index - 1]:
            begin, end = spans[word] if word >= 0 else (0, 0)
            if isinstance(text_or_words, Words):
                end = max([end, *(spans[other][1] for other, first in joined.items() if first == word)])
            else:
                end = max(end, offsets[index][1])  # a token may hold several: [MASK]
            names.append(labels[index] if word < 0 else text[begin:end].rstrip())
            places.append(word)
        numbers.append(len(names) - 1)
    notes = tuple(
        f"word {other} ({text[slice(*spans[other])]!r}) shares a token with word {first}, and is one with it"
        for other, first in joined.items()
    )
    notes += (NOTE,) if pieces else ()
    return Tokens(labels, special, tuple(numbers), tuple(names), text, tuple(places), notes)


def _joined(owner: list[int], offsets: list[tuple[int, int]], words: Words) -> dict[int, int]:
    """Words without a token of their own, by the word before them whose token covers them too (cannot).

    Raises LigflowError for a word that no token covers, and for one whose tokens do not lie side by side.
    """
    joined: dict[int, int] = {}
    for word, (begin, end) in enumerate(words.spans):
        mine = [index for index, of_token in enumerate(owner) if of_token == word]
        over = [owner[i] for i, span in enumerate(offsets) if span[0] < end and begin < span[1]]
        if not mine and over and over[0] != -1:
            joined[word] = over[0]
        elif not mine or mine[-1] - mine[0] + 1 != len(mine):
            raise LigflowError(
                f"Word {word} ({words.text[begin:end]!r}) has no tokens of its own with this tokenizer, "
                "which drops or scatters it; leave the word out, or join it to the one before."
            )
    return joined


def _word_at(text: str, span: tuple[int, int], words: Sequence[tuple[int, int]]) -> int:
    """The word that holds the token's first visible character, or all of its blanks; -1 for none."""
    begin, end = span
    while begin < end and text[begin].isspace():
        begin += 1
    first = begin if begin < end else span[0]
    inside = (i for i, (low, high) in enumerate(words) if low <= first and span[0] < span[1] <= high)
    if begin == end:
        return next(inside, -1)
    return next((i for i, (low, high) in enumerate(words) if low <= begin < high), -1)
