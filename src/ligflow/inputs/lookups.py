"""Rows of tables that a model looks up, of tokens and positions, and may not have."""

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ligflow.errors import LigflowError

_WITH_FAST_PATHS = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)


@contextmanager
def known_rows(model: nn.Module, inputs: Mapping[str, Tensor], on_cpu: bool = False) -> Iterator[None]:
    """Inside, a lookup of rows that a table has not is a LigflowError with both numbers.

    PyTorch says that an index is out of range, and on CUDA the process can compute nothing after it: rows
    are looked at before each lookup, which takes each operation through Python. On the CPU (`on_cpu`, of all
    weights) the error is an exception that still holds the lookup, so that nothing is looked at before.

    Encoders of PyTorch itself take another way through their layers where no operation goes through Python,
    with nested tensors, in which no attention is seen: with them it goes through it on the CPU too.
    """
    tables = _Tables(model, inputs)
    plain = on_cpu and not any(isinstance(part, _WITH_FAST_PATHS) for part in model.modules())
    with nullcontext() if plain else _checked(tables):
        try:
            yield
        except IndexError as error:
            if (lookup := _lookup_of(error)) is not None:
                tables.check(*lookup)
            raise


def _lookup_of(error: IndexError) -> tuple[Tensor, Tensor] | None:
    """The rows that PyTorch was looking up, and in which table; None where the error is of something else."""
    frames = [frame for frame, _line in traceback.walk_tb(error.__traceback__)]
    if frames[-1].f_code is not functional.embedding.__code__:
        return None
    return frames[-1].f_locals["input"], frames[-1].f_locals["weight"]


class _checked(TorchFunctionMode):  # noqa: N801 (used as a context manager)
    """Inside, rows are looked at before they are looked up."""

    def __init__(self, tables: "_Tables") -> None:
        super().__init__()
        self.tables = tables

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is functional.embedding:
            self.tables.check(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True, eq=False)
class _Tables:
    """The tables of a model that runs on some inputs."""

    model: nn.Module
    inputs: Mapping[str, Tensor]

    def check(self, input: Tensor, weight: Tensor, *_args: Any, **_kwargs: Any) -> None:
        """Raises LigflowError for rows that the table has not."""
        if not input.numel() or input.is_meta:
            return
        least, most = (int(end) for end in input.aminmax())
        if least < 0 or most >= len(weight):
            raise LigflowError(
                f"{type(self.model).__name__} looks up row {most if least >= 0 else least} of "
                f"{self._name(weight)}, which has rows 0 to {len(weight) - 1}. {self._remedy(input)}"
            )

    def _name(self, weight: Tensor) -> str:
        named = (name for name, own in self.model.named_parameters() if own is weight)
        return repr(next(named, "a table"))

    def _remedy(self, rows: Tensor) -> str:
        ids = [name for name, value in self.inputs.items() if name.endswith("input_ids") and value.ndim == 2]
        for name in ids:
            if torch.equal(rows.flatten().to(self.inputs[name]), self.inputs[name].flatten()):
                return (
                    f"The {name} hold a token that the model has not. Use its own tokenizer; where tokens "
                    "were added to that, call model.resize_token_embeddings(len(tokenizer))."
                )
        shapes = ", ".join(f"{name}{list(value.shape)}" for name, value in self.inputs.items())
        return f"These inputs ({shapes}) need a position, or a kind of token, that the model has not."
