"""Layers of peft in a model: which adapters are part of what is run, in words for readers."""

from collections.abc import Iterator
from typing import Any

from torch import nn


def adapters_notes(model: nn.Module) -> list[str]:
    """A note for each adapter: on how many modules it works, or that it is loaded and does not work."""
    layers = list(_adapter_layers(model))
    at_work = [_at_work(layer) for layer in layers]
    every = dict.fromkeys(name for layer in layers for name in sorted(_loaded(layer)))
    return [_note(name, _kinds(layers, name), sum(name in names for names in at_work)) for name in every]


def _note(name: str, kinds: str, count: int) -> str:
    if not count:
        return (
            f"the adapter {name!r} ({kinds}) is loaded and switched off: it is no part of what is explained"
        )
    return f"the adapter {name!r} ({kinds}) is part of what is explained, on {count} modules"


def _adapter_layers(model: nn.Module) -> Iterator[Any]:
    """The modules that peft has put adapters into; peft need not be installed to know."""
    for module in model.modules():
        kinds = type(module).__mro__
        if any(kind.__name__ == "BaseTunerLayer" and kind.__module__.startswith("peft.") for kind in kinds):
            yield module


def _loaded(layer: Any) -> set[str]:
    return set(layer._get_available_adapters()) | set(layer.merged_adapters)


def _at_work(layer: Any) -> set[str]:
    """Adapters that are added as the layer runs, and those that are in its weights already."""
    added = set() if layer.disable_adapters else set(layer.active_adapters) & _loaded(layer)
    return added | set(layer.merged_adapters)


def _kinds(layers: list[Any], name: str) -> str:
    """What peft calls the kinds of an adapter's layers: the packages that they are from."""
    return ", ".join(
        sorted({type(layer).__module__.split(".")[2] for layer in layers if name in _loaded(layer)})
    )
