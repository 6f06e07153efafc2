"""What objects held at one moment, by identity: whether that is so still is seen without a look inside."""

from collections.abc import Iterable
from operator import is_
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedConfig

from ligflow.devices.module_references import parts_of

OWN = ("_parameters", "_buffers", "_modules")  # containers of a module
_WITH_CONTAINERS = (nn.Module, PreTrainedConfig)  # whose own attributes are all that they hold


class Contents:
    """The types of objects, what is in their containers and attributes, and where tensors lie.

    It holds all of it, so that nothing else gets the identity of what is gone.
    """

    def __init__(self, objects: Iterable[Any]) -> None:
        # not the tuples, which hold what they hold as long as whatever holds them does
        objects = list({id(value): value for value in objects if type(value) is not tuple}.values())
        self._objects, self._types = objects, [*map(type, objects)]
        self._tensors = [(value, placed(value)) for value in objects if isinstance(value, Tensor)]
        containers = [container for value in objects for container in _containers(value)]
        self._empty = [container for container in containers if not container]
        self._filled = [(container, _entries(container)) for container in containers if container]
        others = [(value, [*parts_of(value)]) for value in objects if not _containers(value)]
        self._others = [(value, parts) for value, parts in others if parts]

    def are_as_before(self) -> bool:
        """Whether every object holds the very things that it held, and every tensor lies where it lay."""
        return (
            all(map(is_, map(type, self._objects), self._types))
            and not any(self._empty)
            and all(_the_same(_entries(container), entries) for container, entries in self._filled)
            and all(placed(tensor) == place for tensor, place in self._tensors)
            and all(_the_same([*parts_of(value)], parts) for value, parts in self._others)
        )


def placed(tensor: Tensor) -> tuple[Any, ...]:
    """Where a tensor's numbers lie (None for those that have no memory of their own), and what they are."""
    own = type(tensor) in (Tensor, nn.Parameter) and not tensor.is_meta
    return tensor.data_ptr() if own else None, tensor.dtype, tuple(tensor.shape)


def _containers(value: Any) -> list[Any]:
    """The containers of an object that can be changed, those of modules and settings among its attributes."""
    if isinstance(value, (dict, list, set)):
        return [value]
    if not isinstance(value, _WITH_CONTAINERS):
        return []
    own = vars(value)
    return [own, *(own[name] for name in OWN)] if isinstance(value, nn.Module) else [own]


def _entries(container: Any) -> list[Any]:
    return [*container, *container.values()] if isinstance(container, dict) else [*container]


def _the_same(now: list[Any], before: list[Any]) -> bool:
    return len(now) == len(before) and all(map(is_, now, before))
