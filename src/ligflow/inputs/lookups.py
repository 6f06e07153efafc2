"""Rows of tables that a model looks up, of tokens and positions, and may not have."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ligflow.errors import LigflowError


class known_rows(TorchFunctionMode):  # noqa: N801 (used as a context manager)
    """Inside, a lookup of rows that a table has not is a LigflowError with both numbers.

    PyTorch says that an index is out of range, and on CUDA the process can compute nothing after it.
    """

    def __init__(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model, self.inputs = model, inputs

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is functional.embedding:
            self._check(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _check(self, input: Tensor, weight: Tensor, *_args: Any, **_kwargs: Any) -> None:
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
