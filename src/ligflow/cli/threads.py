"""How many threads a command computes on: as many as there are cores that nobody else uses.

Small operations wait for a thread that is not running: where another program has a core, as many threads as
cores take several times as long as fewer (`benchmarks/threads.py`).
"""

import os
import time
from dataclasses import dataclass

_SAID = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # where users say how many


@dataclass(frozen=True)
class Clock:
    """Seconds: of the wall, of this process's computing, and of the machine's cores idling, summed."""

    wall: float
    own: float
    idle: float

    @classmethod
    def now(cls) -> "Clock":
        """As it stands."""
        import psutil

        cores = psutil.cpu_times()
        idle = cores.idle + getattr(cores, "iowait", 0.0)  # waiting for a disk, on Linux
        return cls(time.perf_counter(), time.process_time(), idle)


def threads_between(before: Clock, after: Clock, most: int) -> int:
    """Cores that others left between two moments, rounded, at least 1 and at most `most`."""
    left = (after.idle - before.idle + after.own - before.own) / (after.wall - before.wall)
    return max(1, min(most, round(left)))


def use_idle_cores(before: Clock) -> None:
    """Sets PyTorch's threads to the cores that others have left since `before`, where no user has said."""
    import torch

    if not any(name in os.environ for name in _SAID):
        torch.set_num_threads(threads_between(before, Clock.now(), torch.get_num_threads()))
