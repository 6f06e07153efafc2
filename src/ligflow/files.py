"""Files that are whole or not there: written under a temporary name, then renamed."""

import os
import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError

from ligflow.errors import LigflowError


def write_text(path: str | Path, text: str) -> Path:
    """Text under a temporary name, then renamed: UTF-8, lines ended as they are on every system."""
    return atomically(path, lambda scratch: Path(scratch).write_bytes(text.encode()))


def write_made(path: str | Path, make: Callable[[BinaryIO], object]) -> Path:
    """What another library writes, made in memory first: on a full disk it may raise whatever it likes."""
    made = BytesIO()
    make(made)
    return atomically(path, lambda scratch: Path(scratch).write_bytes(made.getvalue()))


def ensure_writable(path: str | Path) -> None:
    """Raises LigflowError now if `path` could not be written later; tries a file beside it."""
    try:
        Path(_scratch(path)).unlink()
    except LigflowError:
        raise
    except (OSError, ValueError) as error:
        raise LigflowError(f"Cannot write {str(path)!r}: {error}") from error


def _scratch(path: str | Path) -> str:
    """A new empty file in the folder of `path`."""
    path = Path(path)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise LigflowError(f"Cannot write {str(path)!r}: there is no folder {str(folder)!r}.")
    if path.is_dir():
        raise LigflowError(f"Cannot write {str(path)!r}: it is a folder.")
    if path.exists() and not path.is_file():
        raise LigflowError(f"Cannot write {str(path)!r}: it is no regular file.")
    if not os.access(folder, os.W_OK):
        raise LigflowError(f"Cannot write {str(path)!r}: its folder is not writable.")
    handle, scratch = tempfile.mkstemp(dir=folder, prefix=".ligflow.", suffix=".part")
    os.close(handle)
    return scratch


def atomically(path: str | Path, write: Any) -> Path:
    """Calls `write` with a temporary name in the same folder, then renames the file."""
    ensure_writable(path)
    path = Path(path)
    scratch = _scratch(path)
    try:
        write(scratch)
        to_disk(Path(scratch))  # or a power cut could leave the new name with an empty file
        Path(scratch).chmod(0o666 & ~_umask())
        Path(scratch).replace(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise LigflowError(f"Could not write {str(path)!r}: {error}") from error
    finally:
        Path(scratch).unlink(missing_ok=True)
    return path


def to_disk(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk; Windows opens no folder."""
    if sys.platform == "win32" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows flushes what can be written
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
