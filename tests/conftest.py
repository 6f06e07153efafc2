"""Shape checks on: calls into ligflow are checked against their jaxtyping signatures."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from jaxtyping import config

import shape_checks

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
shape_checks.install("ligflow")


THREADS = max(1, torch.get_num_threads() // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def pytest_configure(config: pytest.Config) -> None:
    """For programs that tests start, which on all cores beside other tests compute many times as long.

    Not in a process that hands tests to others: these would take its number, which is that of one alone.
    """
    if not getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before the fixtures of a test, those of a whole session too: the number of threads decides rounding.

    Tiny models run faster on one thread; real ones (slow tests) take what other tests leave.
    """
    torch.set_num_threads(THREADS if item.get_closest_marker("slow") else 1)
    shape_checks.begin_test()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first: at the end, when one process has nothing left to do, what the other does is short."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def no_shape_checks() -> Iterator[None]:
    """Without run-time shape checks, for the many cases of a test that other cases run with them."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in this process: exit code, standard output, standard error."""
    from ligflow.cli.main import main

    def call(*arguments: Any, stdin: str | bytes = "", errors: str = "strict") -> tuple[int, str, str]:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setattr(sys, "argv", ["ligflow", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), "utf-8", errors))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    return call
