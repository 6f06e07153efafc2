"""What a run and its workers tell each other while shards are computed.

A worker in another process, on whatever machine, writes how many sentences of its shard are done as the size
of a file beside the shards: the run's folder is what all of them share.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ligflow.errors import LigflowError

Ticked = Callable[[int, int], None]  # a shard, and how many of its sentences are done
LOOK = 0.25  # seconds between two looks at what workers have done


@dataclass(frozen=True)
class Watch:
    """`stop` says whether no further shard is to be begun; the others are told what happens."""

    stop: Callable[[], bool]
    ticked: Ticked
    lost: Callable[[int], None]
    waits: Callable[[str], None]  # for what, in words


def count_file(folder: str | Path, shard: int) -> Path:
    """The file whose size is how many sentences of a shard at work are done."""
    return Path(folder) / "shards" / f".{shard:05d}.count"


@contextmanager
def counting(folder: str | Path, shard: int) -> Iterator[Ticked]:
    """In a worker: what is to be told how many sentences are done."""
    path = count_file(folder, shard)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise LigflowError(f"Cannot write to {str(folder)!r}: {error.strerror or error}.") from error

    def ticked(_shard: int, sentences: int) -> None:
        file.truncate(sentences)

    try:
        yield ticked
    finally:
        file.close()
        path.unlink(missing_ok=True)


def look(watch: Watch, folder: str | Path, shards: list[int]) -> None:
    """In the run: tells how far workers are with their shards."""
    for shard in shards:
        try:
            watch.ticked(shard, count_file(folder, shard).stat().st_size)
        except FileNotFoundError:
            watch.ticked(shard, 0)
