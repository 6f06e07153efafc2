"""Folders that take seconds to make, made once for all processes of the tests."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name`, which `make` fills where no other process of this run of tests has yet.

    All processes read the same folder: what a run says of its model is its path, which has to be one.
    """
    own = factory.getbasetemp()
    place = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / f"made-{name}"
    with FileLock(f"{place}.lock"):
        if not place.exists():
            make(part := place.with_name(f"{place.name}.part"))
            part.rename(place)
    return place


def copy_made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """This process's own copy of the folder that `made_once` makes, for tests that write to it."""
    return Path(shutil.copytree(made_once(factory, name, make), factory.mktemp(name), dirs_exist_ok=True))
