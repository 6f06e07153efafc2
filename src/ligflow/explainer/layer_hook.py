"""One layer on activations that a program already has: `attribute_layer`, to be called in its hooks."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.devices.precision import check_precision, exact_mode
from ligflow.devices.private_copy import private_copy, without_hooks
from ligflow.devices.weights import check_weights, is_short, usable, weights_notes
from ligflow.errors import LigflowError
from ligflow.explainer.assembly import assemble
from ligflow.explainer.computation import compute
from ligflow.explainer.example import Example, shown, splittable
from ligflow.explainer.placement import Placement
from ligflow.flow import Flow
from ligflow.inputs.token_names import Names, token_positions
from ligflow.inputs.tokens import Tokens
from ligflow.layer.arguments import snapshot
from ligflow.layer.float64 import real_type
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import locked, prepared
from ligflow.recording.record_call import record_call
from ligflow.recording.validation import validate
from ligflow.routes.workspace import Selection
from ligflow.settings import OPTIONS, Settings, ask, with_settings

_HELD = "the encoder's states are held, so that sources are the layer's own tokens; Explainer moves both"
_BLOCKED = -1e4  # what an additive mask adds, at most, where it blocks


@with_settings
def attribute_layer(
    layer: nn.Module,
    hidden_states: Tensor,
    *others: Any,
    tokens: Sequence[str] | None = None,
    targets: Names | None = None,
    **arguments: Any,
) -> Flow:
    """The flow inside one layer, on hidden states `[T, D]` or `[1, T, D]` that a program already has.

    `layer` is a layer's module of a model of `transformers`; `others` and `arguments` are what the model
    passes to it besides (mask, rotary tables, ...), as a forward pre-hook gets them:

        def hook(module, args, kwargs):
            flows.append(attribute_layer(module, *args, **kwargs))

        layer.register_forward_pre_hook(hook, with_kwargs=True)

    The flow is that of `Explainer.explain` on the same input. Its one layer has the number that the module
    carries, else 0. All of it is computed on a copy of the layer's modules, on the same weights and without
    hooks: the layer itself is not touched.

    *Main arguments*:

    - `layer`: the module of a layer of a model of `transformers`.
    - `hidden_states`: what it is given, of one example.
    - `others` and `arguments`: what the model passes to it besides.

    *Other arguments*:

    - `tokens`: names, one for each of T; None: numbers. Tokens that none may attend to (padding) are left
      out.
    - `targets`, `routes`, `att_baseline`, `mlp_baseline`, `layer_baseline`, `scalarization`, `quadrature`,
      `tol`, `max_nodes`, `memory_budget`, `precision`, `experts`, `parts` and `split`: those of
      `Explainer.explain`.

    Raises LigflowError for hidden states that do not fit, arguments that the layer does not run on, and a
    cache that holds earlier tokens; UnsupportedModel for a module that is not a layer, or that does not
    offer a route. Warns (CompletenessWarning) when cells miss `tol`.
    """
    settings = ask(**{name: arguments.pop(name) for name in OPTIONS if name in arguments})
    _check_layer(layer)
    _check_hidden(layer, hidden_states)
    _refuse_filled_cache(layer, (*others, *arguments.values()))
    check_precision(settings.precision, [hidden_states.device])
    with exact_mode(hidden_states.device, settings.precision):
        with locked(layer):  # another thread may have it borrowed, with stand-ins for its modules
            module = without_hooks(private_copy(usable(layer)))
        check_weights(module)
        hidden = hidden_states.reshape(1, *hidden_states.shape[-2:])
        args, kwargs = snapshot((hidden, *others), _own), snapshot(arguments, _own)
        recorded = validate(module, record_call(module, args, kwargs, _number(layer)))
        example = _example(layer, module, recorded, tokens, targets, settings)
        ((results,),) = compute([example], [settings])
        return assemble(example, results, settings)


def _check_layer(layer: object) -> None:
    if isinstance(layer, PreTrainedModel):
        raise LigflowError(
            f"{type(layer).__name__} is a whole model; pass one of its layers, or use Explainer(model)."
        )
    if not isinstance(layer, nn.Module) or not any(True for _ in layer.parameters()):
        raise LigflowError(
            f"attribute_layer needs the module of a layer, with weights, not {type(layer).__name__}."
        )


def _check_hidden(layer: nn.Module, hidden: object) -> None:
    if not isinstance(hidden, Tensor) or not hidden.is_floating_point():
        kind = str(hidden.dtype) if isinstance(hidden, Tensor) else type(hidden).__name__
        raise LigflowError(f"The hidden states are {kind}; pass a tensor of floating-point numbers.")
    shape, weight = tuple(hidden.shape), next(layer.parameters())
    if hidden.ndim not in (2, 3) or 0 in shape or (hidden.ndim == 3 and shape[0] != 1):
        raise LigflowError(
            f"The hidden states have shape {shape}; pass those of one example, [T, D] or [1, T, D]. Of a "
            "batch take one, hidden_states[i : i + 1], and the same of the other arguments."
        )
    if hidden.device != weight.device:
        raise LigflowError(f"The hidden states are on {hidden.device}, and the layer on {weight.device}.")
    if not torch.isfinite(hidden).all():
        raise LigflowError("The hidden states hold NaN or infinite values.")
    kinds = {real_type(numbers.dtype) for numbers in (hidden, weight)}
    if len(kinds) > 1:
        raise LigflowError(
            f"The hidden states are {hidden.dtype}, and the layer's weights {weight.dtype}; pass both in one "
            "type."
        )


def _refuse_filled_cache(layer: nn.Module, arguments: Sequence[Any]) -> None:
    """A cache of keys and values of other tokens is a part of what the layer attends to."""
    for cache in arguments:
        if hasattr(cache, "get_seq_length") and (held := _held(cache, _number(layer))):
            raise LigflowError(
                f"The layer's cache holds {held} already, whose hidden states "
                "are not known here. Run the model without a cache (use_cache=False) on the whole text; "
                "within a run, use a forward pre-hook, which comes before the layer fills its cache."
            )


def _held(cache: Any, number: int) -> str:
    """What a cache knows of earlier tokens in this layer, '' if nothing."""
    try:
        length = int(cache.get_seq_length(number))
    except (ValueError, StopIteration):  # a layer without keys and values
        return "the state of earlier tokens" if cache.has_previous_state(number) else ""
    return f"{length} tokens" if length > 0 else ""


def _own(value: Any) -> Any:
    """Tensors of the program as numbers alone, half precision as float32."""
    if not isinstance(value, Tensor):
        return value
    return value.detach().clone().float() if is_short(value) else value.detach().clone()


def _number(layer: nn.Module) -> int:
    """The layer's number in its model, which modules of transformers carry for the cache; else 0."""
    numbers = (getattr(part, "layer_idx", None) for part in layer.modules())
    return next((number for number in numbers if isinstance(number, int)), 0)


def _example(
    original: nn.Module,
    module: nn.Module,
    layer: Layer,
    names: Sequence[str] | None,
    targets: Names | None,
    settings: Settings,
) -> Example:
    labels = tuple(map(str, range(len(layer.hidden)))) if names is None else tuple(names)
    if len(labels) != len(layer.hidden):
        raise LigflowError(f"tokens names {len(labels)}, and the hidden states hold {len(layer.hidden)}.")
    chosen, _ = splittable([layer], True, settings.routes)
    visible = _attended(module, layer)
    tokens = shown(Tokens(labels, (False,) * len(labels)), visible)
    rows = token_positions(targets, tokens.labels)
    selection = Selection(visible, visible[torch.tensor(rows, device=visible.device)])
    notes = [*([_HELD] if layer.findings.memory else []), *weights_notes(original)]
    return Example(tokens, rows, chosen, selection, notes, Placement(module), about=_about(original))


def _attended(module: nn.Module, layer: Layer) -> Int[Tensor, " visible"]:
    """Positions that some token may attend to; all of them where it cannot be split into heads."""
    everyone = torch.arange(len(layer.hidden), device=layer.hidden.device)
    if layer.mode != "split":
        return everyone
    with prepared(module, layer.implementation), torch.no_grad():
        bias = layer.capture(layer.hidden[None]).form.bias
    return everyone if bias is None else everyone[(bias > _BLOCKED).flatten(0, -2).any(0)]


def _about(layer: nn.Module) -> dict[str, Any]:
    configs = (getattr(part, "config", None) for part in layer.modules())
    names = (getattr(config, "name_or_path", "") for config in configs)
    kind = type(layer).__name__
    return {"model": next(filter(None, names), kind), "revision": None, "model_class": kind}
