"""Ctrl-C, politely: it is answered at once, what is at work finishes, and nothing new is begun."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Within it, the first SIGINT or SIGTERM is remembered and answered, and a second one stops at once.

    `answer` is called from a thread, since what was interrupted may hold the lock of the screen. Outside the
    main thread, which alone receives signals, it changes nothing.
    """

    def __init__(self) -> None:
        self.answer: Callable[[], None] = lambda: None
        self._asked = False
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._before: dict[int, Any] = {}

    def asked(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._woken.set()
        self._thread.join()

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        self._woken.set()

    def _answer(self) -> None:
        self._woken.wait()
        if self._asked:
            self.answer()
