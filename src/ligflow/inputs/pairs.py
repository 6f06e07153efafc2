"""Two texts for an encoder-decoder: what its encoder reads, and what its decoder has written so far."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.inputs.tokens import Tokens, encode, name_inputs


@dataclass(frozen=True)
class Pair:
    """A text for the encoder (`source`), and one for the decoder (`target`), e.g. its translation."""

    source: str
    target: str


def encode_pair(
    tokenizer: Any, config: Any, pair: Pair, limit: int | None, truncate: bool
) -> tuple[dict[str, Tensor], Tokens]:
    """Inputs of both sides, and the decoder's tokens.

    The decoder's begin with its start token and are those of the target without a closing one, as it sees
    them when it is to write the next. Raises LigflowError for blank or too long texts, and for a model
    that names no start token.
    """
    encoder, _ = encode(tokenizer, pair.source, limit, truncate)
    encode(tokenizer, pair.target, limit, truncate)  # refuses what is no text
    start = getattr(config, "decoder_start_token_id", None)
    if start is None:
        raise LigflowError(
            "The model's config has no decoder_start_token_id, so that the decoder's input is not known; "
            "pass a mapping with input_ids and decoder_input_ids."
        )
    ids = list(tokenizer(text_target=pair.target, truncation=truncate, max_length=limit)["input_ids"])
    ids = ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids
    ids = ids if ids[:1] == [start] else [start, *ids]
    if limit is not None and len(ids) > limit:
        raise LigflowError(
            f"The decoder's text has {len(ids)} tokens, its start token among them, and the model takes "
            f"{limit}. Shorten it, or cut it with truncate=True (--truncate)."
        )
    decoder = torch.tensor([ids], device="cpu")
    named = name_inputs(tokenizer, {"input_ids": decoder}, len(ids))
    kept = {name: one for name, one in encoder.items() if name in ("input_ids", "attention_mask")}
    said = Tokens(named.labels, named.special, text=f"{pair.source} → {pair.target}")
    return kept | {"decoder_input_ids": decoder}, said
