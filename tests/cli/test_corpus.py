"""`ligflow corpus`: its commands, what they need, and reports on what is no run."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from runs_by_hand import run_by_hand

Result = tuple[int, str, str]
Run = Callable[..., Result]
pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.fixture
def run(run: Run) -> Run:
    """`ligflow corpus`."""
    return partial(run, "corpus")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("The cat slept.\nRain fell.\n\nWhy not?\n")
    return path


@pytest.mark.parametrize("name", ["pyarrow", "conllu", "filelock", "matplotlib"])
def test_the_missing_extra_is_named(
    run: Run, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    for arguments in (["run", texts, "--out", tmp_path / "run"], ["report", tmp_path]):
        code, _, err = run(*arguments)
        assert (code, err) == (1, f"error: ligflow corpus needs {name}: pip install 'ligflow[corpus]'.\n")


def test_reports_on_what_is_no_run(run: Run, tmp_path: Path) -> None:
    code, _, err = run("report", tmp_path)
    assert (code, err) == (1, f"error: '{tmp_path}' holds no run (it has no manifest.json).\n")
    run_by_hand(tmp_path / "run")
    code, _, err = run("report", tmp_path / "run", "--draws", "3")
    assert (code, err) == (1, "error: draws is 3; an interval takes at least 100.\n")
