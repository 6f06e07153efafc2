"""Float64: which models compute in it, and how it stays float64 through code that rounds to float32.

A model whose first weights are float64 is computed in float64, any other in float32. Model code upcasts half
precision to float32 in norms, softmaxes and routers; in a float64 model the same lines round down. Inside
`keep_double()` those casts leave float64 tensors alone.

Three decisions stand elsewhere, since they are about other things: where one layer of a float32 model is
computed on a float64 copy (routes/double_precision: where u leaves its start flat), how near two replays must
be in each type (recording/tolerances), and what short weights become on a device (devices/weights).
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def real_type(own: torch.dtype) -> torch.dtype:
    """The type in which numbers of a type are computed with: float64 stays, all others are float32."""
    return torch.float64 if own == torch.float64 else torch.float32


def real_type_of(model: nn.Module) -> torch.dtype:
    """The type in which a model is computed, by its first weights."""
    return real_type(next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32))


def to_double(value: Any) -> Any:
    """A tensor of real numbers in float64; all else as it is."""
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def keeping(real: torch.dtype) -> AbstractContextManager[Any]:
    """The mode in which a computation in this type stays in it."""
    return keep_double() if real == torch.float64 else nullcontext()


class keep_double(TorchFunctionMode):  # noqa: N801 (used as a context manager)
    """Turns float64 -> float32 casts into no-ops; everything else passes through."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if not kwargs and func not in _WATCHED:  # most calls
            return func(*args)
        kwargs = dict(kwargs or {})
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if func is Tensor.float:
                return args[0]
            args, kwargs = _without_float32(func, args, kwargs)
        if func is torch.full and "dtype" not in kwargs and _is_large(args[1:2] or [kwargs["fill_value"]]):
            kwargs["dtype"] = torch.float64  # the least number of float64, for a mask
        if func in _PRODUCTS:
            args = _alike(args)
        return func(*args, **kwargs)


# of factors that were made apart: frequencies are float64 then, and positions, whole numbers, float32
_PRODUCTS = frozenset({Tensor.__matmul__, Tensor.matmul, torch.matmul, torch.bmm})
_WATCHED = _PRODUCTS | {Tensor.float, Tensor.to, Tensor.type, torch.full}  # what may round without `dtype=`


def _is_large(numbers: Iterable[Any]) -> bool:
    limit = torch.finfo(torch.float32).max
    return any(isinstance(one, float) and limit < abs(one) < float("inf") for one in numbers)


def _alike(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Float32 factors beside float64 ones as float64: whole numbers and their like, exact in both."""
    if not any(isinstance(a, Tensor) and a.dtype == torch.float64 for a in args):
        return args
    return tuple(a.double() if isinstance(a, Tensor) and a.dtype == torch.float32 else a for a in args)


def _without_float32(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if kwargs.get("dtype") is torch.float32 and func is not Tensor.view:
        kwargs["dtype"] = torch.float64
    if func in (Tensor.to, Tensor.type):
        args = tuple(torch.float64 if a is torch.float32 else a for a in args)
    return args, kwargs
