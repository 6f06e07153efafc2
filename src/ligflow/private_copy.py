"""A model's modules anew, for ligflow alone, on the model's own weights.

What recording and replaying put on a model (an attention implementation, hooks, weights of another device)
they put on such a copy. The model itself is never touched, so that its other users, in this thread or in
others, find it as it is.
"""

import copy
import types
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

M = TypeVar("M", bound=nn.Module)
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_CONTAINERS = (dict, OrderedDict, list, tuple, set)


def private_copy(model: M) -> M:
    """The module tree and its configs copied, in eval mode; parameters and buffers are the same memory.

    What refers to modules of the tree (bound methods, partial functions, closures of patched forwards and of
    hooks) refers to their copies; everything else is shared.
    """
    copier = _Copier()
    parts = list(model.modules())
    for part in parts:
        copier.know(part, part if isinstance(part, torch.jit.ScriptModule) else object.__new__(type(part)))
    for tensor in (*model.parameters(), *model.buffers()):
        copier.know(tensor, _same_memory(tensor))
    for part in parts:
        twin = copier(part)
        if twin is not part:
            vars(twin).update({name: copier.state(value) for name, value in vars(part).items()})
            vars(twin)["training"] = False
    own: M = copier(model)
    return own


def without_hooks(model: M) -> M:
    """The copy, made deaf: the hooks that came with it see no replay."""
    for part in model.modules():
        vars(part).update({name: OrderedDict() for name in HOOKS})
    return model


def _same_memory(tensor: Tensor) -> Tensor:
    """A parameter of its own, without gradients, on the same numbers; tensors of other kinds are shared."""
    if type(tensor) is nn.Parameter:
        return nn.Parameter(tensor.detach(), requires_grad=False)
    return tensor


class _Copier:
    """Gives for each object of a module tree what stands for it in the copy."""

    def __init__(self) -> None:
        self._twins: dict[int, tuple[Any, Any]] = {}  # by id: the original, so that the id stays its own
        self._configs: dict[int, Any] = {}

    def know(self, original: Any, twin: Any) -> None:
        self._twins[id(original)] = original, twin

    def __call__(self, value: Any) -> Any:
        """The twin; the value itself where it refers to nothing that is copied."""
        if id(value) in self._twins:
            return self._twins[id(value)][1]
        if isinstance(value, PreTrainedConfig):
            return copy.deepcopy(value, self._configs)
        if isinstance(value, types.MethodType):
            return self._method(value)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if type(value) is partial:
            return self._partial(value)
        if type(value) in _CONTAINERS:
            twin = _rebuilt(value, self)
            return twin if _differ(_parts(value), _parts(twin)) else value
        if callable(value) and hasattr(value, "__dict__") and not isinstance(value, (type, nn.Module)):
            return self._callable(value)
        return value

    def state(self, value: Any) -> Any:
        """The twin of a module's attribute: containers are always copied, since modules write into them."""
        return _rebuilt(value, self.state) if type(value) in _CONTAINERS else self(value)

    def _method(self, value: types.MethodType) -> Any:
        twin = types.MethodType(self(value.__func__), self(value.__self__))
        return twin if _differ((value.__func__, value.__self__), (twin.__func__, twin.__self__)) else value

    def _function(self, value: types.FunctionType) -> Any:
        self.know(value, value)  # while it is looked at: a function may refer to itself
        cells = tuple(map(self._cell, value.__closure__ or ()))
        defaults, named = self(value.__defaults__), self(value.__kwdefaults__)
        before = (*(value.__closure__ or ()), value.__defaults__, value.__kwdefaults__)
        if not _differ(before, (*cells, defaults, named)):
            return value
        twin = types.FunctionType(value.__code__, value.__globals__, value.__name__, defaults, cells)
        twin.__kwdefaults__ = named
        vars(twin).update(vars(value))
        self.know(value, twin)
        return twin

    def _callable(self, value: Any) -> Any:
        """An object in a function's place, which may say itself how it is copied with its module."""
        if hasattr(value, "__deepcopy__"):
            return copy.deepcopy(value, {key: twin for key, (_, twin) in self._twins.items()})
        parts = {name: self(part) for name, part in vars(value).items()}
        if not _differ(vars(value).values(), parts.values()):
            return value
        twin = copy.copy(value)
        vars(twin).update(parts)
        return twin

    def _cell(self, cell: types.CellType) -> types.CellType:
        try:
            content = cell.cell_contents
        except ValueError:  # not filled yet
            return cell
        twin = self(content)
        return cell if twin is content else types.CellType(twin)

    def _partial(self, value: partial[Any]) -> Any:
        before = value.func, value.args, value.keywords
        function, arguments, keywords = map(self, before)
        if not _differ(before, (function, arguments, keywords)):
            return value
        twin = partial(function, *arguments, **keywords)
        vars(twin).update(vars(value))
        return twin


def _rebuilt(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """A container of the same kind, with what stands for each of its parts."""
    if isinstance(value, dict):
        return type(value)((key, leaf(part)) for key, part in value.items())
    return type(value)(map(leaf, value))


def _parts(value: Any) -> list[Any]:
    return list(value.values() if isinstance(value, dict) else value)


def _differ(before: Any, after: Any) -> bool:
    return any(one is not other for one, other in zip(before, after, strict=True))
