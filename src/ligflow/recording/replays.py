"""Replays of a recorded layer, held against what the model computed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.recording.tolerances import error_over_allowance, gap, max_token_error, rounding, tolerance
from ligflow.recording.unmodified_run import other_attention


@contextmanager
def replaying(layer: Layer) -> Iterator[None]:
    """Errors of the model's own code name the layer."""
    try:
        yield
    except LigflowError:
        raise
    except KeyError as error:
        raise UnsupportedModel(
            f"Layer {layer.index} ({layer.name}) looks up {error}, which it does not have: its attention has "
            "no plain ('eager') implementation."
        ) from error
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise UnsupportedModel(f"Layer {layer.index} ({layer.name}) cannot be replayed: {error}") from error


def with_reference(model: nn.Module, layer: Layer) -> tuple[Layer, Tensor]:
    """The layer, and what a split is compared with: its output under an unmodified attention.

    That is the eager one where it gives what the model gave. Not so where it adds masks of truth values as
    numbers (Grounding DINO's text), is not there, or is not what the model was loaded with.
    """
    if not layer.findings.as_loaded:
        try:
            eager = _replayed(model, layer, "eager")
        except KeyError as error:
            if error.args != ("eager",):
                raise
        else:
            if _is_output(layer, eager):
                return layer, eager
    own, layer = _replayed(model, layer, None), layer.with_findings(as_loaded=True)
    if layer.mode != "whole" and _is_output(layer, own):
        split = _replayed(model, layer, layer.implementation)
        layer = layer if _is_output(layer, split) else other_attention(layer)
    return layer, own


def _is_output(layer: Layer, again: Tensor) -> bool:
    return max_token_error(again, layer.output) <= tolerance(again)


def _replayed(model: nn.Module, layer: Layer, implementation: str | None) -> Tensor:
    with prepared(model, implementation), torch.no_grad():
        return layer.forward(layer.hidden[None])[0]


def refuse_other_output(layer: Layer, again: Tensor) -> None:
    """A replay must give what the layer gave in the model."""
    kind = f"Layer {layer.index} ({layer.name}, {type(layer.module).__name__})"
    if not torch.isfinite(again).all():
        raise LigflowError(
            f"{kind} gives NaN or infinite values on this input; check the weights, or load the model in a "
            "wider dtype. A mask that hides every key from a token gives NaN too."
        )
    error = gap(again, layer.output)
    if not error <= tolerance(again):
        raise UnsupportedModel(
            f"{kind}, replayed alone, differs by {error:.1e} from what it gave in the model: "
            f"{_why(layer.module)}."
        )


def _why(module: nn.Module) -> str:
    """Why a replay may give something else. Layers are recorded where hooks see them, within `__call__`."""
    kind = next(kind for kind in type(module).__mro__ if "__call__" in vars(kind))
    if kind.__module__.partition(".")[0] in ("torch", "transformers"):
        return "it depends on more than its arguments"
    return (
        f"{kind.__name__} has its own __call__, around what hooks see; do in forward, or a hook, what it does"
    )


def refuse_other_replay(layer: Layer) -> None:
    """What is not split goes through the layer as it is, which must give what it gave in the model."""
    again = layer.forward(layer.hidden[None])[0]
    if not _is_output(layer, again):
        off = max_token_error(again, layer.output)
        raise UnsupportedModel(
            f"Layer {layer.index} ({layer.name}, {type(layer.module).__name__}) cannot be explained: "
            f"{layer.findings.reason}, and its {layer.implementation or 'own'} attention, through which z2z "
            f"would go, gives other than the model by {off:.1e}."
        )


def batches(layer: Layer, own: Tensor) -> bool:
    """Whether a batch of two gives each example its own output."""
    try:
        both = layer.forward(torch.stack([layer.hidden, layer.hidden.flip(0)]))
    except (RuntimeError, ValueError, IndexError, AssertionError):
        return False
    return both.shape[0] == 2 and max_token_error(both[0], own) <= rounding(own)


def tiled(layer: Layer, own: Tensor) -> Layer:
    """The layer with what counts the heads, or the parts, of one example given for each; or one by one."""
    heads = {form.bias.shape[1] for form in layer.forms if form.bias is not None} - {1}
    tensors = {name: value for name, value in layer.arguments.items() if isinstance(value, Tensor)}
    sizes = {name: len(tensor) for name, tensor in tensors.items() if tensor.ndim > 1}
    for counts in (heads, {layer.layout.parts}):
        names = tuple(
            name for name, size in sizes.items() if size in counts and name != layer.findings.memory
        )
        batched = layer.with_findings(tiled=names)
        if names and batches(batched, own):
            return batched
    return layer.with_findings(one_by_one=True)


def differs(layer: Layer, own: Tensor) -> str:
    """How the layer, split at its attention, differs from what the model gave, '' if by rounding alone."""
    pair = layer.hidden.expand(2, -1, -1)
    u = layer.attend(pair)
    split, still = layer.finish(pair, u), layer.finish(pair[:1], torch.zeros_like(u[:1]))[0]
    for name, other in (("loaded" if layer.findings.as_loaded else "eager", own), ("recorded", layer.output)):
        if not max(error_over_allowance(example, other, still) for example in split) <= 1:
            off = max(max_token_error(example, other) for example in split)
            return f"split at its attention it differs from the model's own ({name}) output by {off:.1e}"
    return ""
