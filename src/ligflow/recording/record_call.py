"""The layer of one call that some program makes, with its own attention implementation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import nn

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.arguments import snapshot
from ligflow.layer.interface import attention_action, literal
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.recording.call import Call, by_name, keeps_shape, layer_of, signature_of
from ligflow.recording.model_runs import OFF_INTERFACE, at_softmax, let_pass_unknown_name, noting
from ligflow.recording.stacks import tokens_meet


def record_call(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], index: int) -> Layer:
    """The layer of one call, as some program makes it with its own attention implementation.

    Raises LigflowError where the module does not run on these arguments, UnsupportedModel where it is not
    a layer.
    """
    call = Call("the layer", module, args, kwargs)
    with _running(call):
        first, call.kwargs = by_name(call)
        call.args = (call.kwargs.pop(first),)
        with prepared(module, None):
            call.output = _once(call)
        refusal = _note_attention(call)
    if call.attentions and "attention_mask" in signature_of(module).parameters:
        call.kwargs["attention_mask"] = literal(call.kwargs.get("attention_mask"), call.attentions[0])
        if call.at_softmax:  # with the mask that counts
            _note_at_softmax(call)
    if not keeps_shape(call):
        _refuse_other_module(module, "its input and output are not hidden states of one shape")
    layer = layer_of(index, call, refusal)
    with prepared(module, "eager"), torch.no_grad():
        if not call.attentions and len(layer.hidden) > 1 and not tokens_meet(layer):
            _refuse_other_module(module, "no token depends on another")
    return layer


def _note_attention(call: Call) -> str:
    """Notes the attentions in a call; why it has none that can be split, '' if it has."""
    try:
        with prepared(call.module), attention_action(noting([call])):
            _once(call)
    except UnsupportedModel as error:
        return str(error)
    except KeyError as error:
        let_pass_unknown_name(error)
    if not call.attentions:
        _note_at_softmax(call)
    return "" if call.attentions else OFF_INTERFACE


def _note_at_softmax(call: Call) -> None:
    call.attentions.clear()
    with prepared(call.module, "eager"), attention_action(noting([call])):
        call.at_softmax = at_softmax(lambda: _once(call)) is not None
    if not call.at_softmax:  # what was seen before the error is not all
        call.attentions.clear()
    parts = (part for part in call.module.modules() if hasattr(part, "config"))
    attending = next((part for part in parts if hasattr(part, "is_causal")), call.module)
    call.attentions[:] = [replace(one, module=attending) for one in call.attentions]


def _once(call: Call) -> Any:
    with torch.no_grad():
        return call.module(*call.args, **snapshot(call.kwargs))


@contextmanager
def _running(call: Call) -> Iterator[None]:
    """Errors of the module's own code name it and what it was given."""
    try:
        yield
    except LigflowError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError) as error:
        kind, names = type(call.module).__name__, ", ".join(["hidden_states", *call.kwargs])
        raise LigflowError(
            f"{kind} could not run on these arguments ({names}): {error}. Pass it all that the model passes, "
            "as a forward_pre_hook with with_kwargs=True gets it."
        ) from error


def _refuse_other_module(module: nn.Module, reason: str) -> NoReturn:
    raise UnsupportedModel(
        f"{type(module).__name__} is not a layer: {reason}. Pass a member of the model's stack of layers."
    )
