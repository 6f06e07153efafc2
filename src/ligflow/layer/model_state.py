"""A model made ready for a run, and given back as it was."""

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ligflow.layer.float64 import keeping, real_type_of
from ligflow.layer.interface import IMPLEMENTATION

_EXPERTS = "_experts_implementation_internal"  # where a config says how experts run


@contextmanager
def replaced_outputs(outputs: Mapping[nn.Module, Float[Tensor, "#batch 1 width"]]) -> Iterator[None]:
    """Modules that return given outputs instead of computing them (the model is borrowed meanwhile).

    What is called on another number of examples, such as all unit vectors (DoRA), is computed.
    """

    def stand_in(own: Callable[..., Tensor], output: Tensor) -> Callable[..., Tensor]:
        def forward(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if len(output) not in (1, len(inputs)):
                return own(inputs, *args, **kwargs)
            shape = (len(output), *[1] * (inputs.ndim - 2), output.shape[-1])
            return output.reshape(shape).expand(*inputs.shape[:-1], -1)

        return forward

    with replaced_forwards({module: stand_in(module.forward, output) for module, output in outputs.items()}):
        yield


@contextmanager
def replaced_forwards(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Modules that compute something else; their own way to compute is put back on leaving."""
    before = {module: vars(module).get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            vars(module)["forward"] = forward
        yield
    finally:
        for module, own in before.items():
            if own is None:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = own


_locks: dict[int, threading.RLock] = {}  # by the id of a config, for as long as that lives


_locks_guard = threading.Lock()


class _Borrowed(threading.local):
    """The models that this thread has locked, with their configs, and those that it has frozen.

    Whoever has a model need not look through all its modules again.
    """

    def __init__(self) -> None:
        self.configs: dict[nn.Module, list[Any]] = {}
        self.frozen: set[nn.Module] = set()


_borrowed = _Borrowed()


@contextmanager
def prepared(model: nn.Module, implementation: str | None = IMPLEMENTATION) -> Iterator[None]:
    """The model, or a layer of it, in eval mode, without parameter gradients, on an attention implementation.

    With None on its own one. One thread at a time has a model; all settings are put back on leaving,
    also after an error.
    """
    kept = keeping(real_type_of(model))
    with locked(model), _implementation(model, implementation), _frozen(model), kept:
        yield


@contextmanager
def locked(model: nn.Module) -> Iterator[None]:
    """The model for this thread alone, with all that shares its configs: its layers, taken one by one."""
    if model in _borrowed.configs:
        yield
        return
    configs = _configs(model)
    with ExitStack() as stack:
        for config in sorted(configs, key=id):
            stack.enter_context(_lock(config))
        _borrowed.configs[model] = configs
        stack.callback(_borrowed.configs.pop, model)
        yield


def _lock(config: Any) -> threading.RLock:
    with _locks_guard:
        if id(config) not in _locks:
            _locks[id(config)] = threading.RLock()
            weakref.finalize(config, _locks.pop, id(config))
        return _locks[id(config)]


@contextmanager
def _implementation(model: nn.Module, name: str | None) -> Iterator[None]:
    """Sets every config in the model; float64 needs the plain experts, fused kernels have none."""
    names = {"_attn_implementation_internal": name} if name else {}
    if real_type_of(model) == torch.float64:
        names[_EXPERTS] = "eager"
    before = [(c, {k: getattr(c, k, None) for k in names}) for c in _configs(model)]
    try:
        for config, _ in before:
            vars(config).update(names)
        yield
    finally:
        for config, values in before:
            vars(config).update(values)


@contextmanager
def plain_experts(model: nn.Module) -> Iterator[None]:
    """Experts that run one after another, as their own code has them, in place of fused kernels."""
    before = [(config, getattr(config, _EXPERTS, None)) for config in _configs(model)]
    try:
        for config, _ in before:
            vars(config)[_EXPERTS] = "eager"
        yield
    finally:
        for config, name in before:
            vars(config)[_EXPERTS] = name


def _configs(model: nn.Module) -> list[Any]:
    if model in _borrowed.configs:
        return _borrowed.configs[model]
    configs: dict[int, Any] = {}
    waiting = [m.config for m in model.modules() if hasattr(getattr(m, "config", None), "to_dict")]
    while waiting:
        config = waiting.pop()
        if id(config) not in configs:
            configs[id(config)] = config
            parts = (getattr(config, key, None) for key in getattr(config, "sub_configs", {}))
            waiting += [part for part in parts if part is not None]
    return list(configs.values())


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    if model in _borrowed.frozen:
        yield
        return
    modules = list(model.modules())  # walked once: every layer that is borrowed comes here
    training = [module for module in modules if module.training]
    weights = (weight for module in modules for weight in module._parameters.values() if weight is not None)
    learning = [weight for weight in weights if weight.requires_grad]
    try:
        for module in training:
            module.training = False
        for parameter in learning:
            parameter.requires_grad_(False)
        _borrowed.frozen.add(model)
        yield
    finally:
        _borrowed.frozen.discard(model)
        for module in training:
            module.training = True
        for parameter in learning:
            parameter.requires_grad_(True)
