"""What a user gives, as the inputs of a model, and the names of the tokens that its layers have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ligflow.inputs.chat import encode_chat
from ligflow.inputs.checks import (
    Inputs,
    check_inputs,
    codebooks_of,
    decoder_inputs,
    refuse_other_inputs,
    refuse_other_texts,
)
from ligflow.inputs.frames import name_frames, seconds_of
from ligflow.inputs.pairs import Pair, encode_pair
from ligflow.inputs.passages import Passages, encode_passages
from ligflow.inputs.patches import name_patches, patches_of
from ligflow.inputs.tokens import Tokens, encode, name_inputs, name_parts, position_limit
from ligflow.inputs.words import Words
from ligflow.keywords import check_flag
from ligflow.layer.float64 import real_type_of


@dataclass(frozen=True, eq=False)
class Encoded:
    """One example as the inputs that its model takes; `tokens` are those of a text, None for other inputs."""

    inputs: dict[str, Tensor]
    tokens: Tokens | None = None

    @property
    def text(self) -> str | None:
        """The text that was given, if it was one."""
        return self.tokens.text if self.tokens else None


def encode_example(
    model: PreTrainedModel, tokenizer: Any, decodes: bool, inputs: Inputs, truncate: bool
) -> Encoded:
    """The inputs of a model whose decoder (`decodes`) or only stack is explained, in its memory.

    A text that is too long is cut with `truncate`. Raises LigflowError for what cannot be explained.
    """
    refuse_other_inputs(inputs)
    check_flag("truncate", truncate)
    limit = position_limit(model, tokenizer)
    refuse_other_texts(inputs, decodes)
    tokens: Tokens | None
    if isinstance(inputs, Pair):
        encoded, tokens = encode_pair(tokenizer, model.config, inputs, limit, truncate)
    elif isinstance(inputs, Passages):
        encoded, tokens = encode_passages(tokenizer, inputs, limit, truncate)
    elif isinstance(inputs, str | Words):
        encoded, tokens = encode(tokenizer, inputs, limit, truncate)
    elif isinstance(inputs, Mapping):
        codebooks = codebooks_of(model.config)
        encoded, tokens = check_inputs(inputs, limit, _needed_by_decoder(model, decodes), codebooks), None
    else:
        encoded, tokens = encode_chat(tokenizer, inputs, limit, truncate)
    return Encoded(encoded, tokens)


def in_memory_of(
    model: PreTrainedModel, home: torch.device, inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The inputs where a model takes them, real numbers in the type that is integrated in.

    They are clones, since tensors made in inference mode cannot take part in a backward pass.
    """
    real = real_type_of(model)
    return {
        name: value.to(home, real if value.is_floating_point() else value.dtype).clone()
        for name, value in inputs.items()
    }


def _needed_by_decoder(model: PreTrainedModel, decodes: bool) -> list[str] | None:
    """Inputs of which a decoder needs one; None where those of a decoder have no place."""
    if decodes:
        return decoder_inputs(model)
    return None if getattr(model.config, "is_encoder_decoder", False) else []


def name_tokens(
    config: Any, tokenizer: Any, inputs: Mapping[str, Tensor], count: int, parts: int = 1
) -> Tokens:
    """Names of a layer's `count` tokens by what the inputs hold: parts, patches, frames of sound, or ids."""
    if parts > 1:
        return name_parts(parts, count)
    patches = patches_of(config, inputs, count)
    return (
        name_sequence(config, tokenizer, inputs, count) if patches is None else name_patches(patches, count)
    )


def name_sequence(config: Any, tokenizer: Any, inputs: Mapping[str, Tensor], count: int) -> Tokens:
    """Names of `count` tokens in a row: frames of sound by their time, others by their ids."""
    seconds = seconds_of(config, inputs)
    return name_inputs(tokenizer, inputs, count) if seconds is None else name_frames(seconds, count)
