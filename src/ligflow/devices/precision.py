"""How exact float32 products are, whatever the process has set: `float32` is exact, `tf32` may round.

The settings of PyTorch belong to the whole process. Calls in several threads share them: they stay
exact as long as one call asks for it, and what was set before comes back when the last one has ended.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from ligflow import names
from ligflow.errors import LigflowError

PRECISIONS = tuple(names.PRECISIONS.values())
_CUDA, _CPU = ("cuda.matmul", "cudnn.conv", "cudnn.rnn"), ("mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
_PARENTS = ("cudnn", "mkldnn", "")

_lock = threading.Lock()
_asked: list[str] = []
_before: dict[str, Any] = {}


def check_precision(name: str, devices: Iterable[torch.device]) -> None:
    """Raises LigflowError, listing the precisions that all devices have, for any other."""
    kinds = {device.type for device in devices}
    here = PRECISIONS if kinds == {"cuda"} else PRECISIONS[:1]
    if name not in here:
        raise LigflowError(
            f"Precision {name!r} is not available on {' and '.join(sorted(kinds))}; choose from "
            f"{', '.join(here)}."
        )


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Float32 products are computed like this inside; the process gets its settings back afterwards."""
    with _lock:
        if not _asked:
            _before.update(_read())
        _asked.append(precision)
        _apply(_strictest())
    try:
        yield
    finally:
        with _lock:
            _asked.remove(precision)
            if _asked:
                _apply(_strictest())
            else:
                _write(_before)
                _before.clear()


def _strictest() -> str:
    return min(_asked, key=PRECISIONS.index)


def _apply(precision: str) -> None:
    fast = precision == "tf32"
    fields = dict.fromkeys(_CUDA, "tf32" if fast else "ieee") | dict.fromkeys(_CPU, "ieee")
    older = {"matmul": "high" if fast else "highest", "cudnn": fast}
    readable = {name: None if _before[name] is None else value for name, value in older.items()}
    _write(readable | {"fields": _known(fields), "parents": {}})


def _read() -> dict[str, Any]:
    """All settings; those that apply to several others are set aside, since these hide behind them."""
    parents = {name: _owner(name).fp32_precision for name in _known(dict.fromkeys(_PARENTS))}
    for name in parents:
        _owner(name).fp32_precision = "none"
    fields = {name: _owner(name).fp32_precision for name in _known(dict.fromkeys(_CUDA + _CPU))}
    return {"matmul": _matmul(), "cudnn": _cudnn(), "fields": fields, "parents": parents}


def _write(settings: dict[str, Any]) -> None:
    """The older settings first: they write into the newer ones."""
    if settings["matmul"] is not None:
        torch.set_float32_matmul_precision(settings["matmul"])
    if settings["cudnn"] is not None:
        torch.backends.cudnn.allow_tf32 = settings["cudnn"]
    for name, value in (*settings["fields"].items(), *settings["parents"].items()):
        _owner(name).fp32_precision = value


def _matmul() -> str | None:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # the caller has mixed the older and the newer settings
        return None


def _cudnn() -> bool | None:
    try:
        return torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return None


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    """What this version of PyTorch has."""
    return {name: value for name, value in fields.items() if hasattr(_owner(name), "fp32_precision")}


def _owner(name: str) -> Any:
    owner: Any = torch.backends
    for part in filter(None, name.split(".")):
        owner = getattr(owner, part, None)
    return owner


@contextmanager
def exact_mode(device: torch.device, precision: str = "float32") -> Iterator[None]:
    """Out of the caller's inference mode and autocast, in which gradients are missing or rounded.

    Float32 products are computed in `precision` (as by `products_in`), whatever the process has set.
    """
    kinds = {"cpu", device.type, *(["cuda"] if torch.cuda.is_available() else [])}
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        for kind in kinds:
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(products_in(precision))
        yield
