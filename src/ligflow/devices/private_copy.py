"""How a model is copied: its modules anew, for ligflow alone, on the model's own weights.

What recording and replaying put on a model (an attention implementation, hooks, weights of another device)
they put on such a copy. The model itself is never touched, so that its other users, in this thread or in
others, find it as it is.
"""

import copy
import types
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from ligflow.devices.module_references import References, content

M = TypeVar("M", bound=nn.Module)
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_CONTAINERS = (dict, OrderedDict, list, tuple, set)
_WRITTEN = "_torchdynamo_orig_callable"  # where a compiled function keeps the one that it was made of


def private_copy(model: M) -> M:
    """The module tree and its configs copied, in eval mode; parameters and buffers are the same memory.

    What refers to modules of the tree (bound methods, partial functions, closures of patched forwards and of
    hooks, objects) refers to their copies; everything else is shared. What was compiled runs as
    it was written.
    """
    own = with_others(model, {id(one): _same_memory(one) for one in (*model.parameters(), *model.buffers())})
    for part in own.modules():
        if not isinstance(part, torch.jit.ScriptModule):
            vars(part)["training"] = False
    return own


def with_others(model: M, others: Mapping[int, Any]) -> M:
    """The module tree and its configs copied, with other tensors and modules in the places of some, by id."""
    copier = _Copier(model, others)
    for part in model.modules():
        if id(part) not in others and not isinstance(part, torch.jit.ScriptModule):
            copier.fill(part)
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

    def __init__(self, model: nn.Module, others: Mapping[int, Any]) -> None:
        self._twins = dict(others)  # by id of what is in the model, which lives meanwhile
        self._held: list[Any] = []
        self._configs: dict[int, Any] = {}
        self._references = References(model)
        parts = [part for part in model.modules() if id(part) not in others]
        for part in parts:
            scripted = isinstance(part, torch.jit.ScriptModule)
            self._twins[id(part)] = part if scripted else object.__new__(type(part))
        for part in parts:
            self._twins[id(part)] = self._twins[id(_as_written(part))]

    def fill(self, part: nn.Module) -> None:
        """The attributes of a module's twin; containers are always copied, since modules write into them."""
        if _as_written(part) is not part:
            return
        state = {name: self(value, always=True) for name, value in vars(part).items()}
        vars(self._twins[id(part)]).update(state | {"_compiled_call_impl": None})

    def __call__(self, value: Any, always: bool = False) -> Any:
        """The twin; the value itself where it refers to nothing that is copied."""
        if id(value) in self._twins:
            return self._twins[id(value)]
        if isinstance(value, PreTrainedConfig):
            return copy.deepcopy(value, self._configs)
        if not (always and type(value) in _CONTAINERS) and not self._references.reach(value):
            return value
        self._held.append(value)  # so that its id stays its own
        return self._twins.get(id(value)) or self._made(value, always)

    def _made(self, value: Any, always: bool) -> Any:
        if isinstance(value, weakref.ref):
            return weakref.ref(self(value()))
        if isinstance(value, types.MethodType):
            return types.MethodType(self(value.__func__), self(value.__self__))
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, partial):
            twin = partial(self(value.func), *self(value.args), **self(value.keywords))
            vars(twin).update(vars(value))
            return twin
        if isinstance(value, tuple):
            made = [self(part, always) for part in value]
            return type(value)._make(made) if hasattr(value, "_make") else type(value)(made)
        if isinstance(value, (dict, list, set)):
            return self._container(value, always)
        return self._object(value)

    def _container(self, value: Any, always: bool) -> Any:
        twin = self._twins[id(value)] = copy.copy(value)  # known before its parts, which may refer to it
        if isinstance(value, dict):
            twin.update({key: self(part, always) for key, part in value.items()})
            return twin
        made = [self(part, always) for part in value]
        twin.clear()
        (twin.extend if isinstance(value, list) else twin.update)(made)
        return twin

    def _function(self, value: types.FunctionType) -> Any:
        """The function on twins of what it closes over; one that was compiled as it was written."""
        written = vars(value).get(_WRITTEN)
        if written is not None:
            return self(written)
        cells = tuple(types.CellType() for _ in value.__closure__ or ())
        twin = types.FunctionType(value.__code__, value.__globals__, value.__name__, None, cells)
        self._twins[id(value)] = twin
        for cell, own in zip(cells, value.__closure__ or (), strict=True):
            cell.cell_contents = self(content(own))
        twin.__defaults__, twin.__kwdefaults__ = self(value.__defaults__), self(value.__kwdefaults__)
        vars(twin).update({name: self(part) for name, part in vars(value).items()})
        return twin

    def _object(self, value: Any) -> Any:
        """An object, which may say itself how it is copied with its module."""
        if hasattr(value, "__deepcopy__"):
            return copy.deepcopy(value, dict(self._twins))
        twin = self._twins[id(value)] = copy.copy(value)
        vars(twin).update({name: self(part) for name, part in vars(value).items()})
        return twin


def _as_written(part: nn.Module) -> nn.Module:
    """The module that `torch.compile` was given, where this is what it gave."""
    written = part._modules.get("_orig_mod") if isinstance(part, torch._dynamo.OptimizedModule) else None
    return part if written is None else _as_written(written)
