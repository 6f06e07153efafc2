"""How much memory this process may still take: of the machine, of its own limit, of its control group."""

from collections.abc import Iterator
from pathlib import Path

import psutil

_LEAST = 64 * 2**20
_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# A group's files in both versions of control groups: its limit, its use, the cache that it can give up.
_UNIFIED = "memory.max", "memory.current", "inactive_file"
_DIVIDED = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"


def free_on_cpu() -> int:
    """Bytes that can be taken, the least of what each limit leaves, and at least 64 MiB."""
    process = psutil.Process()
    left = [psutil.virtual_memory().available, *left_in_groups(_GROUPS, _OWN)]
    if hasattr(psutil, "RLIMIT_DATA"):
        most, _ = process.rlimit(psutil.RLIMIT_DATA)
        left += [most - process.memory_info().data] if most != psutil.RLIM_INFINITY else []
    return max(min(left), _LEAST)


def left_in_groups(groups: Path, own: Path) -> Iterator[int]:
    """What the control groups of a process (a container, a job of Slurm) leave it; none where there are none.

    `groups` is where they are mounted, `own` the file that names those of the process.
    """
    for line in _lines(own):
        _, kinds, place = line.split(":", 2)
        mounted = groups if not kinds else groups / "memory"
        if kinds and "memory" not in kinds.split(","):
            continue
        group = mounted / place.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(mounted):
                yield from _left(folder, *(_DIVIDED if kinds else _UNIFIED))


def _left(group: Path, limit: str, use: str, cache: str) -> Iterator[int]:
    said, used = _lines(group / limit), _lines(group / use)
    if said and said[0].isdecimal() and used:  # `max` is no limit
        kept = dict(line.split(" ", 1) for line in _lines(group / "memory.stat"))
        yield int(said[0]) - int(used[0]) + int(kept.get(cache, 0))


def _lines(file: Path) -> list[str]:
    """None for a file that is not there: another system, or a group that is seen from inside another."""
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
