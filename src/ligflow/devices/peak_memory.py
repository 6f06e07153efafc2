"""The most memory that this process takes while something runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

import psutil
import torch

_APART = 0.01  # seconds between two looks


@dataclass(eq=False)
class Peak:
    """Bytes: the resident set of this process, and what torch holds of a GPU where the device is one."""

    process: int = 0
    device: int = 0


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """What is taken at the most, looked at a hundred times a second, and known exactly on a GPU."""
    peak, ended, process = Peak(), Event(), psutil.Process()

    def look() -> None:
        peak.process = max(peak.process, process.memory_info().rss)

    def watch() -> None:
        while not ended.wait(_APART):
            look()

    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    look()
    watcher = Thread(target=watch, name="ligflow-memory", daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()
        look()
        if on_gpu:
            peak.device = torch.cuda.max_memory_allocated(device)
