"""Products with weights, seen as a layer runs: what they are applied to, and what they give.

Modules, bare parameters, and slices of parameters that hold all experts are seen alike, for it is the
product that counts. A product is seen where what it is applied to depends on the layer's input and the weight
does not.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_PRODUCTS = {
    torch.matmul, torch.mm, torch.bmm, Tensor.matmul, Tensor.mm, Tensor.bmm, Tensor.__matmul__,
}  # fmt: skip
_WITH_BIAS = {torch.addmm, torch.baddbmm, Tensor.addmm, Tensor.baddbmm}
_SUMS = {torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__}


@dataclass(eq=False)
class Projection:
    """A product `o = a W + b` on the way: a are `units`, and `given` is what the model goes on with.

    `where` is what the watcher said of the place.
    """

    units: Tensor
    weight: Tensor
    bias: Tensor | None
    output: Tensor
    given: Tensor
    where: Any = None


class OnProjections(TorchFunctionMode):
    """Notes every projection in this thread, and what is added to what it gives; `where` says the place."""

    def __init__(self, where: Callable[[], Any] = lambda: None) -> None:
        super().__init__()
        self.noted: list[Projection] = []
        self.where = where

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operands = _operands(func, args, kwargs)
        added = [] if operands else self._added(func, args)
        result = func(*args, **kwargs)
        if operands:  # the model goes on with a copy, which it may change in place
            given = result.clone()
            self.noted.append(Projection(*operands, output=result, given=given, where=self.where()))
            return given
        for projection, bias in added:
            projection.bias = bias
        return result

    def _added(self, func: Any, args: Any) -> list[tuple[Projection, Tensor]]:
        """The projection to whose output a constant is added, with that."""
        if func not in _SUMS or len(args) != 2:
            return []
        pairs = ((args[0], args[1]), (args[1], args[0]))
        return [
            (projection, bias)
            for sum_of, bias in pairs
            for projection in self.noted
            if sum_of is projection.given and isinstance(bias, Tensor) and not bias.requires_grad
        ]


def _operands(func: Any, args: Any, kwargs: Any) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """Units, weight and bias of a projection; None for what is none."""
    named = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
    if func is torch.nn.functional.linear:
        operands = named["input"], named["weight"], named.get("bias")
    elif func in _PRODUCTS and len(args) == 2:
        operands = args[0], args[1], None
    elif func in _WITH_BIAS and len(args) == 3:
        operands = args[1], args[2], args[0]
    else:
        return None
    units, weight, _ = operands
    depends = isinstance(units, Tensor) and units.requires_grad and torch.is_grad_enabled()
    return operands if depends and isinstance(weight, Tensor) and not weight.requires_grad else None


def made_by(tensors: Iterable[Tensor]) -> set[Any]:
    """All functions of the graph of gradients that these tensors were made by."""
    waiting: list[Any] = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    every = {*waiting}
    while waiting:
        for function, _ in waiting.pop().next_functions:
            if function is not None and function not in every:
                every.add(function)
                waiting.append(function)
    return every
