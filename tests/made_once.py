"""Folders that take seconds to make, made once for all processes of the tests, each of which has a copy."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A copy of the folder `name`, which `make` fills where no other process of this run of tests has yet."""
    own = factory.getbasetemp()
    place = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / f"made-{name}"
    with FileLock(f"{place}.lock"):
        if not place.exists():
            make(part := place.with_name(f"{place.name}.part"))
            part.rename(place)
    return Path(shutil.copytree(place, factory.mktemp(name), dirs_exist_ok=True))
