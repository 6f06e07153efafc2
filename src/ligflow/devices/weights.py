"""Weights of modules, copied to a device and put in by reference, and a model's weights kept on disk."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ligflow.devices.adapter_layers import adapters_notes
from ligflow.devices.private_copy import with_others
from ligflow.devices.quantisation import Quantised, meanings, quantised, without_kernels
from ligflow.errors import LigflowError
from ligflow.files import atomically

M = TypeVar("M", bound=nn.Module)


def is_short(tensor: Tensor) -> bool:
    """Whether these are floating-point numbers shorter than float32."""
    return tensor.is_floating_point() and tensor.element_size() < 4


def fresh(tensor: Tensor, device: torch.device) -> Tensor:
    """The numbers on a device, half precision as float32; on the CPU always in memory of their own."""
    own = tensor.detach()
    moved = own.to(device, torch.float32 if is_short(own) else own.dtype)
    return moved.clone() if moved is own and (device.type == "cpu" or own.is_inference()) else moved


def usable(model: M, device: torch.device | None = None, known: Mapping[int, Tensor] | None = None) -> M:
    """The model itself, or a copy where weights are quantised, too short, elsewhere, or without gradients.

    `known` are copies that there are already, by the ids of the weights that they are of. Raises
    LigflowError for quantised weights that cannot be made plain (see `quantisation`).
    """
    parts = quantised(model)
    weights = (*model.parameters(), *model.buffers())
    elsewhere = device is not None and any(weight.device != device for weight in weights)
    why = {
        "other weights are too short": bool(_short(model, parts)),
        "it is elsewhere": elsewhere,
        "weights made in inference mode have no gradients": any(weight.is_inference() for weight in weights),
        "others are dequantised": bool(parts.kinds),
    }
    if not any(why.values()):
        return model
    parts.refuse_copy(next(reason for reason, applies in why.items() if applies))

    copies = known or {}

    def change(weight: Tensor) -> Tensor:
        if id(weight) in copies:
            return copies[id(weight)]
        plain = parts.weights.get(id(weight), lambda: weight)()
        return fresh(plain, device or weight.device)

    modules = {id(own): made().to(device) for own, made in parts.modules.items()}
    return without_kernels(with_weights(model, change, modules), parts.places)


def check_streamed(model: nn.Module) -> None:
    """Raises LigflowError for quantised modules that cannot be made plain as they come to a device.

    Those are modules that another one has to stand for (bitsandbytes, HQQ, torch.ao), and experts, whose
    kernels take no plain weights. Weights that say themselves what they mean are dequantised as they come.
    """
    parts = quantised(model)
    experts = [name for name in parts.places if "expert" in type(model.get_submodule(name)).__name__.lower()]
    if parts.modules or experts:
        kinds = " and ".join(sorted(parts.kinds))
        raise LigflowError(
            f"Layers with weights in {kinds} cannot be streamed; load the model unquantised, or explain it "
            "on one device, without streamed=True."
        )


def weights_notes(model: nn.Module) -> list[str]:
    """Notes for readers: adapters, and weights that are dequantised or integrated in a wider type."""
    parts = quantised(model)
    short = _short(model, parts)
    return [*adapters_notes(model), *_of_file(model), *parts.note()] + (
        [f"weights in {' and '.join(short)}, integrated in a float32 copy"] if short else []
    )


def _of_file(model: nn.Module) -> list[str]:
    """A note where `transformers` dequantised the weights as it read them."""
    quantisation = getattr(getattr(model, "config", None), "quantization_config", None)
    kind = str(getattr(quantisation, "quant_method", "")).lower()
    return ["weights of a GGUF file, dequantised as it was loaded"] if kind.endswith("gguf") else []


def _short(model: nn.Module, parts: Quantised) -> list[str]:
    """The types of short weights, apart from those that are quantised."""
    inside = {id(weight) for module in parts.modules for weight in module.parameters()} | parts.weights.keys()
    short = (weight for weight in model.parameters() if is_short(weight) and id(weight) not in inside)
    return sorted({str(weight.dtype).removeprefix("torch.") for weight in short})


def check_weights(model: nn.Module) -> None:
    """Raises LigflowError for weights that are not in memory, or hold NaN."""
    plain = quantised(model).weights
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise LigflowError(
                f"The weights of {name!r} are not in memory (offloaded by device_map?); load the model "
                "without device_map and pass streamed=True."
            )
        numbers = plain[id(parameter)]() if id(parameter) in plain else parameter
        if not torch.isfinite(numbers).all():
            raise LigflowError(
                f"The weights of {name!r} hold NaN or infinite values; the checkpoint is damaged."
            )


def with_weights(
    model: M, change: Callable[[Tensor], Tensor], modules: Mapping[int, nn.Module] | None = None
) -> M:
    """A copy of the model with changed weights; the model's own are not copied.

    So are tensors that hooks make of weights (pruning, weight norm), which cannot be copied. `modules` stand
    in the places of others, by their ids.
    """
    others: dict[int, Any] = dict(modules or {})
    kept = [part for part in model.modules() if id(part) not in others]
    for tensor in (one for part in kept for one in _tensors(part)):
        if id(tensor) not in others:
            others[id(tensor)] = _like(tensor, change(tensor))
    return with_others(model, others)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """All tensors of one module, those that are no parameters among them."""
    for one in (*module._parameters.values(), *module._buffers.values(), *vars(module).values()):
        if isinstance(one, Tensor):
            yield one


def _like(own: Tensor, other: Tensor) -> Tensor:
    return nn.Parameter(other, requires_grad=own.requires_grad) if isinstance(own, nn.Parameter) else other


# --- copies that stand in -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Copies:
    """Copies of the weights of modules; `own` holds the modules' own while the copies are in."""

    device: torch.device
    slots: list[tuple[dict[str, Any], str, Tensor]]
    own: list[Tensor] = field(default_factory=list)

    def put_in(self) -> None:
        """The modules use the copies."""
        for weights, name, copy in self.slots:
            self.own.append(weights[name])
            weights[name] = copy

    def put_back(self) -> None:
        """The modules have their own weights again, and nothing on the device needs the copies."""
        for (weights, name, _), own in zip(self.slots, self.own, strict=False):
            weights[name] = own
        self.own.clear()
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()


def fetch(modules: Iterable[nn.Module], device: torch.device) -> Copies:
    """Copies of all weights of modules, there when this returns. A tensor that occurs twice is copied once.

    Quantised weights are dequantised. Raises LigflowError if the device has no room for them.
    """
    parts = list(modules)
    known: dict[int, Tensor] = {}
    plain = meanings(parts)
    slots = []
    try:
        with _beside(device):
            for weights, name, tensor in _slots(parts):
                if id(tensor) not in known:
                    numbers = plain[id(tensor)]() if id(tensor) in plain else tensor
                    known[id(tensor)] = _frozen_like(tensor, fresh(numbers, device))
                slots.append((weights, name, known[id(tensor)]))
    except torch.OutOfMemoryError as error:
        raise LigflowError(
            f"{device} has no room for the weights of two layers: {error} Free some memory there, or "
            "choose another device."
        ) from error
    return Copies(device, slots)


def _frozen_like(own: Tensor, copy: Tensor) -> Tensor:
    return nn.Parameter(copy, requires_grad=False) if isinstance(own, nn.Parameter) else copy


def _slots(modules: Iterable[nn.Module]) -> Iterator[tuple[dict[str, Any], str, Tensor]]:
    for module in modules:
        owners: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for weights in owners:
            yield from ((weights, name, one) for name, one in list(weights.items()) if one is not None)


@contextmanager
def resident(modules: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """The modules with their weights on a device."""
    copies = fetch(modules, device)
    try:
        copies.put_in()
        yield
    finally:
        copies.put_back()


@contextmanager
def _beside(device: torch.device) -> Iterator[None]:
    """On CUDA beside the computation, and done on leaving."""
    stream = _stream(device) if device.type == "cuda" else None
    with torch.cuda.stream(stream) if stream else nullcontext():
        yield
    if stream:
        stream.synchronize()


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One for the life of the process: memory that was used on a stream is used again on that one."""
    return torch.cuda.Stream(device)


# --- weights on disk ------------------------------------------------------------------------------


def on_disk(model: M, folder: str | Path, known: Mapping[int, Tensor] | None = None) -> M:
    """A copy of the model whose weights are read from files in the folder where they are used.

    The files, one for each module that has weights, are written now, but for weights of which there is a
    copy already (`known`, by their ids). Raises LigflowError if they
    cannot be.
    """
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LigflowError(f"offload_folder {str(folder)!r} cannot be made: {error}") from error
    mapped = dict(known or {})
    for number, module in enumerate(model.modules()):
        own = {name: weight for _, name, weight in _slots([module]) if id(weight) not in mapped}
        if own:
            plain = meanings([module])
            numbers = {
                name: plain[id(weight)]() if id(weight) in plain else weight for name, weight in own.items()
            }
            read = _written(numbers, place / f"{number:06d}.safetensors")
            mapped |= {id(weight): read[name] for name, weight in own.items()}
    return with_weights(model, lambda tensor: mapped[id(tensor)])


def _written(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors of a file, memory mapped."""
    plain = {name: one.detach().cpu().clone().contiguous() for name, one in tensors.items()}
    atomically(path, lambda scratch: save_file(plain, scratch))
    return load_file(path)
