"""What may be asked about: inputs of a model, tokens that are not padding, layers and targets."""

import functools
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.errors import LigflowError
from ligflow.inputs.chat import Messages, is_chat
from ligflow.inputs.pairs import Pair
from ligflow.inputs.passages import Passages
from ligflow.inputs.words import Words

_DECODER = "decoder_"
_ONE = (
    "The inputs are a {kind} that holds one text; explain takes the text itself: pass texts[0], or take a "
    "flow for each of a list from explain_many(texts)."
)
_SEVERAL = (
    "The inputs are a {kind} of {count} texts, and explain takes one; take a flow for each from "
    "explain_many(texts), a prediction for each from explain_predictions(texts). If they are "
    "the words of one text pass Words.joined([...]), and if they are what an encoder and its decoder read, "
    "Pair(source, target)."
)
Inputs = str | Words | Pair | Passages | Messages | Mapping[str, Tensor]


def refuse_other_inputs(inputs: object) -> None:
    """Raises LigflowError for anything but a text, words or a mapping."""
    if isinstance(inputs, str | Words | Pair | Passages | Mapping) or is_chat(inputs):
        return
    kind = type(inputs).__name__
    if isinstance(inputs, Sequence) and len(inputs) > 0 and all(map(_is_one, inputs)):
        raise LigflowError(
            _SEVERAL.format(kind=kind, count=len(inputs)) if len(inputs) > 1 else _ONE.format(kind=kind)
        )
    raise LigflowError(
        f"The inputs are of type {kind}; pass one text, its words as Words.joined([...]), or a "
        "mapping of tensors for one example."
    )


def _is_one(inputs: object) -> bool:
    """Whether this could be explained by itself."""
    return isinstance(inputs, str | Words | Pair | Passages) or is_chat(inputs)


def refuse_other_texts(inputs: Inputs, decodes: bool) -> None:
    """Raises LigflowError for one text where two are needed, and for two where one is."""
    if decodes and (isinstance(inputs, str | Words | Passages) or is_chat(inputs)):
        raise LigflowError(
            "The decoder is explained, which reads two texts: pass Pair(source, target), e.g. "
            "Pair('How are you?', 'Wie geht es'), or a mapping with input_ids and decoder_input_ids."
        )
    if isinstance(inputs, Pair) and not decodes:
        raise LigflowError(
            "A pair of texts is for the decoder of an encoder-decoder: Explainer(model, tokenizer, "
            "stack='decoder'). Here one text is explained."
        )


def check_inputs(
    inputs: Mapping[str, Tensor],
    limit: int | None,
    decoder: Sequence[str] | None = None,
    codebooks: int = 1,
) -> dict[str, Tensor]:
    """Ready-made inputs of one example: tensors, on positions that the model has.

    `decoder` are the names of inputs of which a decoder (of an encoder-decoder) needs one, if it needs any;
    None where no decoder is explained. A model of sound may take the ids of `codebooks` in rows.
    """
    given: dict[str, Any] = dict(inputs)
    for name, value in given.items():
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise LigflowError(f"Input {name!r} is {kind}; pass tensors (return_tensors='pt'), or a text.")
    if not inputs:
        raise LigflowError("The inputs are empty; pass the model's own inputs, e.g. {'input_ids': tensor}.")
    _check_decoder(inputs, decoder)
    for name in ("input_ids", "decoder_input_ids"):
        _check_ids(inputs.get(name), limit, codebooks)
    for name in ("inputs_embeds", "decoder_inputs_embeds"):
        _check_length(inputs.get(name), limit)
    return dict(inputs)


def _check_decoder(inputs: Mapping[str, Tensor], decoder: Sequence[str] | None) -> None:
    own = [name for name in inputs if name.startswith(_DECODER)]
    if own and decoder is None:
        raise LigflowError(
            f"Of an encoder-decoder the encoder is explained: leave out {own[0]}, or explain the decoder: "
            "Explainer(model, stack='decoder')."
        )
    if decoder and not {*decoder} & {*own}:
        raise LigflowError(
            f"These are inputs of the encoder alone ({', '.join(inputs)}); the decoder is explained, so pass "
            f"its {decoder[0]} too, or explain the encoder: Explainer(model)."
        )


def decoder_inputs(model: PreTrainedModel) -> list[str]:
    """The inputs of which one tells a decoder what its tokens are; none where it knows (queries of DETR)."""
    parameters = inspect.signature(model.forward).parameters
    found = [name for name in parameters if name.startswith(f"{_DECODER}input")]
    return [] if found == [f"{_DECODER}inputs_embeds"] else found


def own_inputs(inputs: Mapping[str, Tensor], decodes: bool) -> dict[str, Tensor]:
    """The inputs that the explained layers' tokens come from: a decoder's, named without `decoder_`."""
    if not decodes:
        return dict(inputs)
    return {name.removeprefix(_DECODER): one for name, one in inputs.items() if name.startswith(_DECODER)}


def taken_by(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inputs without those that neither the model nor a part of it names in its `forward`.

    Some models accept any, pass them on and ignore them, such as a tokenizer's `token_type_ids`.
    """
    known = {name for part in _kinds(model) for name in inspect.signature(part.forward).parameters}
    return {name: one for name, one in inputs.items() if name in known} or dict(inputs)


def _kinds(model: nn.Module) -> Iterable[nn.Module]:
    """The model, and one of its parts for each class."""
    return [model, *{type(part): part for part in model.modules()}.values()]


def codebooks_of(config: Any) -> int:
    """How many codes a model of sound takes at a time, as rows of ids (MusicGen)."""
    return int(getattr(getattr(config, "decoder", None) or config, "num_codebooks", None) or 1)


def _check_ids(ids: Tensor | None, limit: int | None, codebooks: int) -> None:
    if ids is not None and ids.ndim == 2:
        if len(ids) not in (1, codebooks):
            raise LigflowError(f"explain takes one example at a time; these inputs hold {len(ids)}.")
        if ids.shape[1] == 0:
            raise LigflowError("The inputs hold no tokens.")
        _check_length(ids, limit)


def _check_length(tokens: Tensor | None, limit: int | None) -> None:
    if tokens is not None and tokens.ndim > 1 and limit is not None and tokens.shape[1] > limit:
        raise LigflowError(
            f"The inputs have {tokens.shape[1]} tokens, and the model takes {limit}; cut them."
        )


def visible_tokens(model: PreTrainedModel, inputs: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
    """Positions of a layer's tokens that are not padding. Raises LigflowError if there are none, or if
    that is not known.
    """
    mask = inputs.get("attention_mask")
    if mask is None or mask.ndim != 2 or mask.all():
        return torch.arange(len(hidden), device=hidden.device)
    if mask.shape[1] != len(hidden):
        mask = _mask_of_frames(model, mask, len(hidden))
    if not mask.any():
        raise LigflowError("The attention mask hides every token.")
    return mask[0].nonzero()[:, 0].to(hidden.device)


def _mask_of_frames(model: PreTrainedModel, mask: Tensor, frames: int) -> Tensor:
    """Speech models know which frames their samples make; here they must agree on the number of frames."""
    reduce = getattr(model, "_get_feature_vector_attention_mask", None)
    if reduce is not None:
        if "add_adapter" in inspect.signature(reduce).parameters:
            reduce = functools.partial(reduce, add_adapter=False)  # the layers come before the adapter
        if int(reduce(frames + 1, torch.ones_like(mask)).sum()) == frames:
            return reduce(frames, mask)
    raise LigflowError(
        f"The attention mask has {mask.shape[1]} entries and hides some, and the layers have {frames} "
        "tokens: which of these are padding is not known. Pass inputs without padding."
    )
