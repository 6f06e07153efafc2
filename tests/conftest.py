"""Shape and type checks on: every call into ligflow is checked against its jaxtyping signature."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from jaxtyping import config, install_import_hook

from architectures import SINCE, since

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
install_import_hook("ligflow", "beartype.beartype")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out the families that the installed transformers does not have on the interface."""
    for item in items:
        parameters = getattr(item, "callspec", None)
        given = {str(one) for one in parameters.params.values()} if parameters else set()
        for name in given & SINCE.keys():
            item.add_marker(since(SINCE[name]))


@pytest.fixture(autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tiny models run faster on one thread; real ones (slow tests) take what there is."""
    available = torch.get_num_threads()
    torch.set_num_threads(available if request.node.get_closest_marker("slow") else 1)
    yield
    torch.set_num_threads(available)


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
    from ligflow.cli import main

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
