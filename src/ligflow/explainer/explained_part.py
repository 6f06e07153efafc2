"""Which part of a model is explained: the whole, or one side of an encoder-decoder."""

import inspect
import re

from transformers import PreTrainedModel

from ligflow.errors import LigflowError


def explained_part(model: PreTrainedModel, stack: str | None) -> tuple[PreTrainedModel, str | None, bool]:
    """The model that is run, the name of its stack (None: it has one), and whether that is a decoder's.

    Of an encoder-decoder it is the encoder, unless `stack` names another one by a part of its module's name.
    Raises LigflowError for a `stack` that is no name.
    """
    if stack is not None and not isinstance(stack, str):
        raise LigflowError(f"stack is {stack!r}; give a part of the stack's name, e.g. stack='decoder'.")
    stack = stack or _stack_of_encoder(model)
    if not stack:
        return _encoder_of(model), None, False
    return model, stack, bool(model.config.is_encoder_decoder and not _is_of_encoder(stack))


def whole_part(model: PreTrainedModel, stack: str | None) -> tuple[PreTrainedModel, str | None, bool]:
    """The same for a model as a whole: an encoder-decoder is not cut down to one of its stacks."""
    decodes = bool(getattr(model.config, "is_encoder_decoder", False))
    return model, None if decodes else stack, decodes


def _stack_of_encoder(model: PreTrainedModel) -> str | None:
    """The encoder's name where it is explained inside its model, which makes its inputs (DETR)."""
    if not getattr(model.config, "is_encoder_decoder", False) or model.main_input_name == "input_ids":
        return None
    encoder = model.get_encoder()
    if not isinstance(encoder, PreTrainedModel) or encoder is model:
        return None
    if model.main_input_name in inspect.signature(encoder.forward).parameters:
        return None
    return next(name for name, part in model.named_modules() if part is encoder)


def _is_of_encoder(stack: str) -> bool:
    """Whether a stack's name is that of an encoder; a decoder may be one that was trained as an encoder."""
    first = re.search("encoder|decoder", stack)
    return first is not None and first[0] == "encoder"


def _encoder_of(model: PreTrainedModel) -> PreTrainedModel:
    if not getattr(model.config, "is_encoder_decoder", False):
        return model
    encoder = model.get_encoder()
    return encoder if isinstance(encoder, PreTrainedModel) else model
