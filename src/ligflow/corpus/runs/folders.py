"""Folders that runs and trials write to: made, and kept for one writer at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ligflow.errors import LigflowError


def make_folder(folder: Path) -> None:
    """The folder, if it is not there. Raises LigflowError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LigflowError(f"Cannot make the folder {str(folder)!r}: {error.strerror or error}.") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other runs out of a folder. The system lets go of the lock when the process ends, however."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise LigflowError(
            f"Another run is at work in {str(folder)!r}; wait for it, or give this one a folder of its own."
        ) from error
    except OSError as error:
        raise LigflowError(f"Cannot write to {str(folder)!r}: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()
