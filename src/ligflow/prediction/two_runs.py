"""A model's layers in two runs, the input's and the reference's, and what differs between them.

The reference is put in at the output of the input embeddings in a call with the real ids, so that positions,
token types and masks stay those of the input.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.errors import UnsupportedModel
from ligflow.explainer.head import head_of
from ligflow.layer.arguments import first_tensor, snapshot
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import replaced_forwards
from ligflow.recording.call import Call, by_name, flat
from ligflow.recording.unmodified_run import uncached

Path = tuple[Any, ...]  # where a tensor stands in nested arguments


class Reached(Exception):
    """Ends a run of a model at a layer."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args_, self.kwargs = args, kwargs


@dataclass(frozen=True, eq=False)
class LayerRun:
    """One call of a layer: its arguments by name, the first of which is the hidden states, and its output.

    `written` are tensors that it puts into its arguments, for layers above: keys and values that are shared.
    `inner` is what stood inside it, where that was noted.
    """

    module: nn.Module
    first: str
    arguments: dict[str, Any]
    output: Any
    written: dict[Path, Tensor]
    inner: Any = None

    @property
    def hidden(self) -> Tensor:
        """The hidden states as the layer takes them."""
        hidden: Tensor = self.arguments[self.first]
        return hidden


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a model: the output of its input embeddings, its layers' calls, and its outputs."""

    embeddings: Tensor
    calls: list[LayerRun]
    outputs: Any


def input_embeddings(model: PreTrainedModel) -> nn.Module:
    """The module whose output is the first vector of each token: an encoder's, where there is one.

    Raises UnsupportedModel where the model names none.
    """
    part: Any = model
    if getattr(model.config, "is_encoder_decoder", False):
        encoder = model.get_encoder()
        part = encoder if isinstance(encoder, PreTrainedModel) else model
    try:
        module = part.get_input_embeddings()
    except NotImplementedError:
        module = None
    if not isinstance(module, nn.Module):
        raise UnsupportedModel(
            f"{type(model).__name__} names no input embeddings, at which a reference could be put in; "
            "explain its layers instead: explain(...)."
        )
    return module


def run_noting(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    layers: Sequence[nn.Module],
    embeddings: Tensor | None = None,
    head: Sequence[int] | None = None,
) -> Run:
    """A run in which the calls of `layers` are noted, with other `embeddings` if they are given.

    `head` are the positions at which a vocabulary head is read (None: all).
    """
    calls: list[Call] = []
    embedded_once: list[Tensor] = []

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(Call("", module, snapshot(args), snapshot(kwargs)))

    def after(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        calls[-1].output, calls[-1].after = output, (snapshot(args), snapshot(kwargs))

    def embedded(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        if embedded_once:  # a decoder's tokens, by the same module
            return None
        vectors = output if isinstance(output, Tensor) else first_tensor(output)
        embedded_once.append(vectors if embeddings is None else embeddings.to(vectors))
        return None if embeddings is None else with_first(output, embedded_once[0])

    with _hooked(model, embedded) as handles, reading(model, head), torch.no_grad():
        for module in dict.fromkeys(layers):
            handles.append(module.register_forward_pre_hook(before, prepend=True, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))
        outputs = model(**inputs, **uncached(model))
    return Run(embedded_once[0], [_layer_run(call) for call in calls], outputs)


def in_order(layers: Sequence[Layer], called: Sequence[nn.Module]) -> list[Layer]:
    """The layers of all stacks in the order in which a run calls them."""
    waiting: dict[nn.Module, list[Layer]] = {}
    for layer in layers:
        waiting.setdefault(layer.module, []).append(layer)
    return [waiting[module].pop(0) for module in called]


def layer_runs(calls: list[Call], layers: Sequence[Layer]) -> list[LayerRun]:
    """The calls of some layers among those of a run, in their order."""
    modules = {layer.module for layer in layers}
    return [_layer_run(call) for call in flat(calls) if call.module in modules]


def _layer_run(call: Call) -> LayerRun:
    first, arguments = by_name(call)
    args, kwargs = call.after or (call.args, call.kwargs)
    written = _written(arguments, by_name(Call("", call.module, args, kwargs))[1])
    return LayerRun(call.module, first, arguments, call.output, written)


def _written(before: Any, after: Any, path: Path = ()) -> dict[Path, Tensor]:
    """The tensors in nested containers that were not there before."""
    if isinstance(after, Tensor):
        return {} if after is before else {path: after}
    places: Iterable[Any] = ()
    if isinstance(after, Mapping):
        places = after
    elif isinstance(after, (tuple, list)):
        places = range(len(after))
    found = [_written(_part(before, place), after[place], (*path, place)) for place in places]
    return {place: tensor for part in found for place, tensor in part.items()}


def _part(value: Any, place: Any) -> Any:
    if isinstance(value, Mapping):
        return value.get(place)
    return value[place] if isinstance(value, (tuple, list)) and place < len(value) else None


def with_first(output: Any, tensor: Tensor) -> Any:
    """A layer's output with other hidden states: the tensor itself, or the first of a tuple."""
    if isinstance(output, Tensor):
        return tensor
    if isinstance(output, tuple):
        return (tensor, *output[1:])
    if isinstance(output, list):
        return [tensor, *output[1:]]
    raise UnsupportedModel(f"A layer returned {type(output).__name__} where hidden states were expected.")


def resumed(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    layers: Sequence[Layer],
    run: Run,
    values: Mapping[int, Tensor],
    embeddings: Tensor | None,
    stop: int,
    head: Sequence[int] | None = None,
) -> Any:
    """The model's own forward for a batch of points, with layers stood in for by what they gave.

    `layers` stand in the order of their calls; those before `stop` are not computed: they give `values`
    `[point, token, dim]`, by their number, or what they gave in `run`. Returns the arguments of call `stop`,
    or the model's outputs where no call has that number.
    """
    modules = [layer.module for layer in layers]
    batches = [*values.values(), *([] if embeddings is None else [embeddings])]
    points = max(map(len, batches), default=1)
    count = iter(range(len(modules) + 1))
    known: list[None] = []

    def stand_in(*args: Any, **kwargs: Any) -> Any:
        number = next(count)
        if number == stop:
            raise Reached(args, kwargs)
        output, layout = run.calls[number].output, layers[number].layout
        rows = values[number] if number in values else _all(layout.rows(first_tensor(output)), points)
        return with_first(output, layout.own(rows))

    def embedded(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        if known or embeddings is None:
            return None
        known.append(None)
        return with_first(output, embeddings)

    batch = {name: _all(tensor, points) for name, tensor in inputs.items()}
    with (
        _hooked(model, embedded),
        reading(model, head),
        replaced_forwards(dict.fromkeys(modules, stand_in)),
        _without_padding(model),
    ):
        try:
            return model(**batch, **uncached(model))
        except Reached as reached:
            call = Call("", modules[stop], reached.args_, reached.kwargs)
    return by_name(call)[1]  # with the layers' own forwards in place, which name the arguments


@contextmanager
def _without_padding(model: PreTrainedModel) -> Iterator[None]:
    """Points of one example have no padding, which a decoder's classifier looks for in a batch.

    It refuses a batch where the model names no padding token; meanwhile it names one that no token is.
    """
    config = model.config.get_text_config() if head_of(model).kind == "sequence classifier" else None
    if config is None or getattr(config, "pad_token_id", None) is not None:
        yield
        return
    vars(config)["pad_token_id"] = -1
    try:
        yield
    finally:
        vars(config)["pad_token_id"] = None


def _all(tensor: Tensor, points: int) -> Tensor:
    return tensor.expand(points, *tensor.shape[1:]) if tensor.ndim and len(tensor) == 1 else tensor


@contextmanager
def _hooked(model: PreTrainedModel, embedded: Callable[..., Any]) -> Iterator[list[Any]]:
    handles = [input_embeddings(model).register_forward_hook(embedded)]
    try:
        yield handles
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def noting_embeddings(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """The outputs of the input embeddings that are made meanwhile."""
    noted: list[Tensor] = []

    def embedded(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        noted.append(output if isinstance(output, Tensor) else first_tensor(output))

    with _hooked(model, embedded):
        yield noted


@contextmanager
def reading(model: PreTrainedModel, positions: Sequence[int] | None) -> Iterator[None]:
    """The vocabulary head is read at some positions alone (None: at all)."""
    head = None if positions is None else model.get_output_embeddings()
    if head is None:
        yield
        return

    def chosen(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][:, list(positions or ())], *args[1:])

    handle = head.register_forward_pre_hook(chosen)
    try:
        yield
    finally:
        handle.remove()


def argument_at(arguments: Any, path: Path) -> Tensor:
    """The tensor that stands there in nested arguments."""
    for key in path:
        arguments = arguments[key]
    assert isinstance(arguments, Tensor)
    return arguments


def moving(real: Any, reference: Any) -> dict[Path, tuple[Tensor, Tensor]]:
    """The floating tensors in nested arguments that differ between two runs, by where they stand."""
    pairs: dict[Path, tuple[Tensor, Tensor]] = {}
    _compare(real, reference, (), pairs)
    return pairs


def _compare(real: Any, reference: Any, path: Path, pairs: dict[Path, tuple[Tensor, Tensor]]) -> None:
    if isinstance(real, Mapping) and isinstance(reference, Mapping):
        for key in real:
            _compare(real[key], reference.get(key), (*path, key), pairs)
    elif isinstance(real, (tuple, list)) and isinstance(reference, (tuple, list)):
        for number, (ours, theirs) in enumerate(zip(real, reference, strict=False)):
            _compare(ours, theirs, (*path, number), pairs)
    elif isinstance(real, Tensor) and isinstance(reference, Tensor) and _differ(real, reference):
        pairs[path] = real, reference


def _differ(real: Tensor, reference: Tensor) -> bool:
    alike = real is reference or not real.is_floating_point() or real.shape != reference.shape
    return not alike and not torch.equal(real, reference)
