"""What the results on a model rest on, in a form that can be compared later: has the model changed since?"""

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from ligflow.devices.module_references import References, parts_of
from ligflow.explainer.contents import OWN, Contents, placed

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type, torch.dtype, torch.device)
_LONG = 1000  # a container of more entries is known by its identity and length


class Structure:
    """A model's modules, where their weights lie, their settings and hooks, and the model's configs.

    Two are equal if nothing of this has changed. Numbers in weights are not looked at (see `checksum`), nor
    are training modes. It holds what it has seen, so that no other object gets the identity of one that is
    gone; without `hold` it only notices when one is gone, and equals nothing from then on.
    """

    def __init__(self, model: nn.Module, hold: bool = True) -> None:
        self._hold, self._held, self._model = hold, list[Any](), model if hold else None
        self._met: dict[int, Any] = {}  # what was taken apart, which modules share, and which may hold itself
        self._containers: list[Any] = []  # also the empty ones, such as those of hooks
        self._references = References(model)
        self.marks = tuple(self._of_module(part) for part in model.modules())
        seen = (*self._held, *self._met.values(), *self._containers, *self._references.apart())
        self._contents = Contents(seen if hold else ())
        del self._met, self._containers, self._references

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Structure) and self.marks == other.marks and self._lives() and other._lives()

    __hash__ = None  # type: ignore[assignment]

    def is_now_of(self, model: nn.Module) -> bool:
        """Whether it is of this very model and nothing was changed, at a tenth of the time of a new one.

        True is certain. False is not: an equal value may have taken the place of another.
        """
        return self._model is model and self._contents.are_as_before()

    def _of_module(self, module: nn.Module) -> tuple[Any, ...]:
        settings = tuple(item for item in vars(module).items() if item[0] not in (*OWN, "training"))
        children = tuple((name, self._identity(child)) for name, child in module._modules.items())
        weights = (*module._parameters.items(), *module._buffers.items())
        marks = (self._mark(part, always=True) for part in (children, weights, settings))
        return self._identity(module), type(module), *marks

    def _mark(self, value: Any, always: bool = False) -> Any:
        """What tells a value from others: by its parts where a copy of the model has copies of them."""
        if isinstance(value, _PLAIN):
            return repr(value) if isinstance(value, float) else value  # NaN equals itself
        if isinstance(value, Tensor):
            return self._identity(value), *placed(value)
        if isinstance(value, PreTrainedConfig):
            return self._identity(value), self._of_parts(value, vars(value), always=True)
        if always and isinstance(value, (dict, list, tuple, set)) and len(value) <= _LONG:
            self._containers.append(value)
            return type(value), self._of_parts(value, value, always) if value else ()
        if not isinstance(value, nn.Module) and self._references.reach(value):
            return self._identity(value), type(value), self._of_parts(value, parts_of(value))
        return self._identity(value), type(value), len(value) if isinstance(value, (dict, list, set)) else 0

    def _of_parts(self, value: Any, parts: Iterable[Any], always: bool = False) -> Any:
        if id(value) in self._met:
            return None
        self._met[id(value)] = value
        each = parts.items() if isinstance(parts, dict) else parts
        return tuple(self._mark(part, always) for part in each)

    def _identity(self, value: Any) -> int:
        self._held.append(value if self._hold else _weakly(value))
        return id(value)

    def _lives(self) -> bool:
        """Whether all that was seen is still there, so that its identity is its own."""
        return self._hold or not any(type(one) is weakref.ref and one() is None for one in self._held)


def _weakly(value: Any) -> Any:
    """A reference that keeps no model alive; the value itself, such as a builtin, where there is none."""
    try:
        return weakref.ref(value)
    except TypeError:
        return None if isinstance(value, (dict, list, tuple)) else value


def checksum(weights: Iterable[Tensor]) -> tuple[Any, ...]:
    """Two numbers for each tensor that another value in it changes, whoever wrote it and however.

    `sum_r (2 r + 1) sum_c bits[r, c]` and `sum_c (2 c + 1) sum_r bits[r, c]` over whole numbers of 64 bits,
    in which any single change shows, and so do rows, columns and heads that change places. Of tensors that
    are more than their numbers it is the version that PyTorch counts.
    """
    sums, others = [], []
    for weight in weights:
        if type(weight) in (Tensor, nn.Parameter) and not weight.is_meta and weight.layout is torch.strided:
            sums.append(_sums_of_bits(weight.detach()).cpu())
        else:
            others.append((id(weight), None if weight.is_inference() else weight._version))
    return (*torch.cat(sums).tolist(), *others) if sums else tuple(others)


def _sums_of_bits(numbers: Tensor) -> Tensor:
    if not numbers.numel():
        return torch.zeros(2, dtype=torch.int64, device=numbers.device)
    rows = numbers.contiguous().reshape(-1, numbers.shape[-1] if numbers.ndim else 1)
    if rows.dtype is torch.bool or rows.is_quantized:
        bits = rows.view(torch.uint8) if rows.dtype is torch.bool else rows.int_repr()
    else:
        whole = rows.shape[1] * rows.element_size() % 8 == 0
        bits = rows.view(torch.int64 if whole else _OF_SIZE[rows.element_size()])
    return torch.stack([_weighed(bits.sum(dim, dtype=torch.int64)) for dim in (1, 0)])


def _weighed(sums: Tensor) -> Tensor:
    return (sums * torch.arange(1, 2 * len(sums), 2, dtype=torch.int64, device=sums.device)).sum()


_OF_SIZE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}
