"""What a module holds (functions, objects, containers) that leads to modules and weights of its model."""

import types
import weakref
from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedConfig

_LEAVES = (type, types.ModuleType, Tensor, PreTrainedConfig, str, bytes, int, float, complex, type(None))


class References:
    """Tells whether something in a model reaches its modules, parameters or buffers."""

    def __init__(self, model: nn.Module) -> None:
        known = (*model.modules(), *model.parameters(), *model.buffers())
        self._known = {id(one): one for one in known}
        self._apart: dict[int, Any] = {}  # what was found to reach none, held so that ids stay its own

    def reach(self, value: Any) -> bool:
        """Whether it is one of them, or holds one, however deep."""
        reached: dict[int, Any] = {}
        waiting = [value]
        while waiting:
            part = waiting.pop()
            if id(part) in self._known:
                return True
            if id(part) not in reached and id(part) not in self._apart:
                reached[id(part)] = part
                waiting += parts_of(part)
        self._apart |= reached
        return False

    def apart(self) -> Iterable[Any]:
        """What was asked about, or is held by that, and reaches none."""
        return self._apart.values()


def parts_of(value: Any) -> Iterable[Any]:
    """What a function, an object or a container holds; nothing for modules, which are looked at apart."""
    if isinstance(value, (*_LEAVES, nn.Module)):
        return ()
    if isinstance(value, weakref.ref):
        return (value(),)
    if isinstance(value, types.MethodType):
        return value.__func__, value.__self__
    if isinstance(value, types.FunctionType):
        return *map(content, value.__closure__ or ()), value.__defaults__, value.__kwdefaults__, vars(value)
    if isinstance(value, partial):
        return value.func, value.args, value.keywords
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (list, tuple, set)):
        return list(value)
    return list(getattr(value, "__dict__", {}).values())


def content(cell: types.CellType) -> Any:
    """What a closure holds; None where that is not filled yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
