"""A model's inputs and their tokens, behind which an answer may be written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.chat import is_chat
from ligflow.inputs.checks import Inputs, check_inputs, refuse_other_inputs, taken_by
from ligflow.inputs.pairs import Pair
from ligflow.inputs.tokens import Tokens, encode, name_inputs, position_limit, text_config

_PADDED = "the inputs' padding is left out"
_TWICE = "the decoder reads the text too; its copy is kept: what is explained goes through the encoder"
_OPEN = "the tokenizer's own closing token is left out, since the text goes on"


@dataclass(frozen=True, eq=False)
class Prompt:
    """Inputs of one example; `decoder_tokens` are those that a decoder behind an encoder has written so far.

    `text` is what an answer is written behind, where it is known.
    """

    inputs: dict[str, Tensor]
    tokens: Tokens
    decoder_tokens: Tokens | None = None
    text: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def own(self) -> str:
        """What the names of inputs that an answer lengthens begin with."""
        return "" if self.decoder_tokens is None else "decoder_"

    @property
    def written(self) -> Tokens:
        """The tokens behind which the answer stands."""
        return self.tokens if self.decoder_tokens is None else self.decoder_tokens

    @property
    def ids(self) -> list[int]:
        """The ids of the tokens behind which the answer stands."""
        numbers: list[int] = self.inputs[f"{self.own}input_ids"][0].tolist()
        return numbers

    def followed_by(self, ids: Sequence[int], names: Sequence[str], limit: int | None) -> "Prompt":
        """The prompt with tokens behind it, each a word of its own. Raises LigflowError beyond the limit."""
        if not ids:
            return self
        count = len(self.ids) + len(ids)
        if limit is not None and count > limit:
            raise LigflowError(
                f"The text and the answer before its last token are {count} tokens, and the model takes "
                f"{limit}; shorten one of them."
            )
        tokens = _lengthened(self.written, names)
        inputs = _longer(self.inputs, self.own, ids)
        if self.decoder_tokens is None:
            return replace(self, inputs=inputs, tokens=tokens)
        return replace(self, inputs=inputs, decoder_tokens=tokens)


def text_prompt(whole: PreparedModel, inputs: Inputs, truncate: bool, closed: bool = True) -> Prompt:
    """The inputs of a model of text; not `closed` where the text goes on behind them."""
    if isinstance(inputs, Pair):
        raise LigflowError(
            f"A pair of texts is for an encoder-decoder, and {type(whole.model).__name__} is none; pass one "
            "text."
        )
    if whole.model.config.is_encoder_decoder:
        return _read_twice(whole, inputs, truncate)
    encoded = whole.encode(inputs, truncate)
    needs_ids(whole, encoded.inputs)
    own, notes = _without_padding(encoded.inputs)
    own = taken_by(whole.model, own)
    count = own["input_ids"].shape[1]
    tokens = encoded.tokens or name_inputs(whole.tokenizer, own, count)
    if not closed and tokens.turns and _is_cut(tokens):
        raise LigflowError(
            "The chat has more tokens than the model takes, and if it is cut, it does not end where the "
            "answer begins; shorten it."
        )
    if not closed and not tokens.turns and not isinstance(inputs, Mapping):
        closing = _closing(whole.tokenizer, tokens.text or "", own["input_ids"][0].tolist())
        if closing:
            own, tokens = _cut(own, count, count - closing), _first_tokens(tokens, count - closing)
            notes = (*notes, _OPEN)
    known = encoded.text if not truncate else None
    return Prompt(own, tokens, text=known, notes=notes)


def two_texts(whole: PreparedModel, pair: Pair) -> tuple[Prompt, list[int | None]]:
    """Two texts that a model reads as one input (question and text, premise and hypothesis).

    Beside it which of them, 0 or 1, each token is of. Raises LigflowError where they are too long.
    """
    if whole.tokenizer is None or not whole.tokenizer.is_fast:
        raise LigflowError(
            "Two texts need a fast tokenizer, which says where its tokens lie; pass a mapping."
        )
    limit = position_limit(whole.model, whole.tokenizer)
    encoded = whole.tokenizer(pair.source, pair.target, verbose=False)
    count = len(encoded["input_ids"])
    if limit is not None and count > limit:
        raise LigflowError(f"The two texts have {count} tokens, and the model takes {limit}; shorten them.")
    tensors = {name: torch.tensor([list(values)]) for name, values in encoded.items()}
    prompt, parts, begin = text_prompt(whole, tensors, False), encoded.sequence_ids(0), len(pair.source) + 1
    spans = [
        (begin + low, begin + high) if part == 1 else (low, high)
        for part, (low, high) in zip(parts, encoded.encodings[0].offsets, strict=True)
    ]
    tokens = replace(prompt.tokens, text=f"{pair.source}\n{pair.target}", spans=tuple(spans))
    return replace(prompt, tokens=tokens), list(parts)


def _read_twice(whole: PreparedModel, inputs: Inputs, truncate: bool) -> Prompt:
    """The inputs of an encoder-decoder whose decoder reads the encoder's text, one token later."""
    prompt = pair_prompt(whole, inputs, truncate)
    ids = prompt.inputs["input_ids"]
    start = prompt.inputs["decoder_input_ids"][:, :1]
    later = {name: one for name, one in prompt.inputs.items() if not name.startswith("decoder_")}
    later["decoder_input_ids"] = torch.cat([start, ids[:, :-1]], 1)
    return replace(_pair(whole, later, prompt.tokens, None), notes=(*prompt.notes, _TWICE))


def pair_prompt(whole: PreparedModel, inputs: Inputs, truncate: bool) -> Prompt:
    """The inputs of an encoder-decoder: a text that its encoder reads, with what its decoder begins with.

    Of a `Pair` the target is what the decoder has written so far.
    """
    refuse_other_inputs(inputs)
    if is_chat(inputs):
        raise LigflowError(
            f"{type(whole.model).__name__} is an encoder-decoder, which has no chats; pass one text."
        )
    limit = position_limit(whole.model, whole.tokenizer)
    if isinstance(inputs, Mapping):
        return _mapped_pair(whole, check_inputs(inputs, limit, ()))
    source: Any = inputs.source if isinstance(inputs, Pair) else inputs
    target = inputs.target if isinstance(inputs, Pair) else ""
    encoder, tokens = encode(whole.tokenizer, source, limit, truncate)
    begun = _begun(whole, target)
    if limit is not None and len(begun) > limit:
        raise LigflowError(
            f"The decoder's text has {len(begun)} tokens, and the model takes {limit}; shorten it."
        )
    given = {name: one for name, one in encoder.items() if name in ("input_ids", "attention_mask")}
    return _pair(whole, given | {"decoder_input_ids": torch.tensor([begun])}, tokens, target or None)


def _mapped_pair(whole: PreparedModel, inputs: Mapping[str, Tensor]) -> Prompt:
    own = dict(inputs)
    needs_ids(whole, own)
    own, notes = _without_padding(own)
    if "decoder_input_ids" not in own:
        own["decoder_input_ids"] = torch.tensor([_begun(whole, "")])
    count = own["input_ids"].shape[1]
    prompt = _pair(whole, own, name_inputs(whole.tokenizer, own, count), None)
    return replace(prompt, notes=notes)


def _pair(whole: PreparedModel, inputs: dict[str, Tensor], tokens: Tokens, text: str | None) -> Prompt:
    decoder = {"input_ids": inputs["decoder_input_ids"]}
    written = name_inputs(whole.tokenizer, decoder, decoder["input_ids"].shape[1])
    here = {name: value.to(whole.home) for name, value in inputs.items()}
    return Prompt(taken_by(whole.model, here), tokens, written, text)


def _begun(whole: PreparedModel, target: str) -> list[int]:
    """What the decoder has written before its next token: its start token, and those of the target."""
    config = whole.model.config
    start = getattr(config, "decoder_start_token_id", None)
    start = getattr(text_config(config), "decoder_start_token_id", None) if start is None else start
    if start is None:
        raise LigflowError(
            "The model's config has no decoder_start_token_id, so that the decoder's input is not known; "
            "pass a mapping with input_ids and decoder_input_ids."
        )
    if whole.tokenizer is None:
        return [int(start)]
    ids = list(whole.tokenizer(text_target=target)["input_ids"])
    ids = ids[:-1] if ids and ids[-1] == whole.tokenizer.eos_token_id else ids
    return ids if ids[:1] == [start] else [int(start), *ids]


def needs_ids(whole: PreparedModel, inputs: Mapping[str, Tensor]) -> None:
    """Raises LigflowError for inputs of a model of text that hold no ids of one example."""
    ids = inputs.get("input_ids")
    if ids is None or ids.ndim != 2 or len(ids) != 1 or not ids.shape[1]:
        shown = ", ".join(f"{name}{list(value.shape)}" for name, value in inputs.items())
        raise LigflowError(
            f"{type(whole.model).__name__} is asked about tokens, whose input_ids [1, token] the inputs must "
            f"hold; these are {shown}."
        )


def _without_padding(inputs: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The columns that the attention mask does not hide. Raises LigflowError where it hides all."""
    mask, ids = inputs.get("attention_mask"), inputs["input_ids"]
    if mask is None or mask.shape != ids.shape or bool(mask.all()):
        return dict(inputs), ()
    if not bool(mask.any()):
        raise LigflowError("The attention mask hides every token.")
    shown = mask[0].nonzero()[:, 0]
    kept = {
        name: value[:, shown] if value.shape[:2] == ids.shape and not name.startswith("decoder_") else value
        for name, value in inputs.items()
    }
    return kept, (_PADDED,)


def _is_cut(tokens: Tokens) -> bool:
    """Whether the text goes on behind its last token."""
    ends = [end for _, end in tokens.spans or ()]
    return bool(ends) and bool((tokens.text or "")[max(ends) :].strip())


def _closing(tokenizer: Any, text: str, ids: Sequence[int]) -> int:
    """How many tokens at the end are the tokenizer's own, which the text itself has not."""
    encoded = tokenizer(text, padding=False, return_special_tokens_mask=True, verbose=False)
    marks, full = encoded["special_tokens_mask"], list(encoded["input_ids"])
    count = next((place for place, mark in enumerate(reversed(marks)) if not mark), 0)
    doubled = bool(count) and full[-count:] == full[-2 * count : -count]
    return 0 if doubled or not count or list(ids[-count:]) != full[-count:] else count


def _cut(inputs: Mapping[str, Tensor], count: int, length: int) -> dict[str, Tensor]:
    return {
        name: value[:, :length] if value.ndim > 1 and value.shape[1] == count else value
        for name, value in inputs.items()
    }


def _first_tokens(tokens: Tokens, count: int) -> Tokens:
    words = None if tokens.words is None else tokens.words[:count]
    last = 0 if not words else words[-1] + 1
    return replace(
        tokens, labels=tokens.labels[:count], special=tokens.special[:count], words=words,
        spans=None if tokens.spans is None else tokens.spans[:count],
        word_labels=tokens.word_labels[:last], word_places=tokens.word_places[:last],
    )  # fmt: skip


def _lengthened(tokens: Tokens, labels: Sequence[str]) -> Tokens:
    end = len(tokens.text or "")
    longer = replace(
        tokens,
        labels=(*tokens.labels, *labels),
        special=(*tokens.special, *[False] * len(labels)),
        spans=None if tokens.spans is None else (*tokens.spans, *[(end, end)] * len(labels)),
    )
    if tokens.words is None:
        return longer
    words, places = len(tokens.word_labels), max([-1, *tokens.word_places]) + 1
    return replace(
        longer,
        words=(*tokens.words, *range(words, words + len(labels))),
        word_labels=(*tokens.word_labels, *labels),
        word_places=(*tokens.word_places, *range(places, places + len(labels))),
    )


def _longer(inputs: Mapping[str, Tensor], own: str, ids: Sequence[int]) -> dict[str, Tensor]:
    """Inputs with tokens behind them. Raises LigflowError for one of which that is not known."""
    before = inputs[f"{own}input_ids"]
    more = torch.tensor([list(ids)], dtype=before.dtype, device=before.device)
    of_tokens: dict[str, Callable[[Tensor], Tensor]] = {
        f"{own}input_ids": lambda _: more,
        f"{own}attention_mask": lambda value: torch.ones_like(more, dtype=value.dtype),
        f"{own}position_ids": lambda value: value[:, -1:] + 1 + torch.arange(len(ids), device=value.device),
        f"{own}token_type_ids": lambda value: value[:, -1:].expand(-1, len(ids)),
    }
    longer = dict(inputs)
    for name, value in inputs.items():
        if name in of_tokens:
            longer[name] = torch.cat([value, of_tokens[name](value).to(value)], 1)
        elif not own and value.ndim > 1 and value.shape[:2] == before.shape:
            raise LigflowError(
                f"What {name} is for the answer's tokens is not known; ask about an answer of one token, or "
                "leave it out."
            )
    return longer
