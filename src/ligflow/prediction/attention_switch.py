"""The attention implementation of a model, changed only where the next segment needs another.

Making a model ready walks through all its modules: milliseconds, for hundreds of segments of a chain.
"""

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from torch import nn

from ligflow.layer.model_state import prepared


class AttentionSwitch:
    """A context in which a model is ready for one segment after the other."""

    def __init__(self, model: nn.Module) -> None:
        self._model, self._stack = model, ExitStack()
        self._current: tuple[str | None] | None = None

    def to(self, implementation: str | None) -> None:
        """The model has this implementation until the next change; None is its own."""
        if self._current != (implementation,):
            self._stack.close()
            self._stack.enter_context(prepared(self._model, implementation))
            self._current = (implementation,)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self._current = None
