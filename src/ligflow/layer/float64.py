"""Float64 that stays float64 through model code which rounds to float32.

Model code upcasts half precision to float32 in norms, softmaxes and routers; in a float64 model
the same lines round down. Inside `keep_double()` those casts leave float64 tensors alone.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class keep_double(TorchFunctionMode):  # noqa: N801 (used as a context manager)
    """Turns float64 -> float32 casts into no-ops; everything else passes through."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
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
_PRODUCTS = (Tensor.__matmul__, Tensor.matmul, torch.matmul, torch.bmm)


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
