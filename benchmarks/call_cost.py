"""CPU seconds and memory of one call: what it adds to the process at rest, the loaded model left out.

It needs nothing but Python, so that environments of other packages can import it.
"""

import ctypes
import gc
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def measured(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a call gives, its CPU seconds, and the MiB that it adds at most to the process at rest.

    Memory that torch has let go, and malloc kept, goes back to the system first.
    """
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    rest = _memory("VmRSS")
    _forget_peak()
    begin = time.process_time()
    value = call()
    return value, time.process_time() - begin, max(0.0, _memory("VmHWM") - rest)


def _memory(name: str) -> float:
    """MiB of the process by the system; where it does not tell, the highest since the start."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return next(float(line.split()[1]) for line in status.read_text().splitlines() if name in line) / 1024


def _forget_peak() -> None:
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
