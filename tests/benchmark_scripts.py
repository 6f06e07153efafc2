"""Scripts of `benchmarks/` as modules, for the time of a test."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@contextmanager
def loaded(names: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The scripts by name, imported anew; they leave no module behind."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield {name: __import__(name) for name in names}
    for name in names:
        sys.modules.pop(name, None)
