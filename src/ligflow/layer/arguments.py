"""The arguments of a recorded call: copied, moved, cast, filled up to a batch."""

import copy
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ligflow.errors import UnsupportedModel


def snapshot(value: Any, leaf: Callable[[Any], Any] = lambda leaf: leaf) -> Any:
    """The value with its containers copied, since layers write into those that they share."""
    if isinstance(value, MutableMapping):
        copied = copy.copy(value)
        copied.update({key: snapshot(part, leaf) for key, part in value.items()})
        return copied
    if type(value) in (tuple, list):
        return type(value)(snapshot(part, leaf) for part in value)
    return leaf(value)


def flat_tensors(value: Any) -> list[Tensor]:
    """All tensors in nested containers."""
    if isinstance(value, Mapping):
        return [tensor for part in value.values() for tensor in flat_tensors(part)]
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in flat_tensors(part)]
    return [value] if isinstance(value, Tensor) else []


def unpack(dual: Tensor) -> tuple[Tensor, Tensor]:
    """A dual number's value and its tangent, 0 where it has none."""
    primal, tangent = forward_ad.unpack_dual(dual)
    return primal, torch.zeros_like(primal) if tangent is None else tangent


def first_tensor(output: Any) -> Tensor:
    """A layer's hidden states: the tensor itself, or the first of a tuple."""
    tensor = output if isinstance(output, Tensor) else output[0]
    if not isinstance(tensor, Tensor):
        raise UnsupportedModel(f"A layer returned {type(tensor).__name__} where hidden states were expected.")
    return tensor
