"""A report that is written once, and reports without their figures."""

from pathlib import Path
from typing import Any

import pytest

from favoured_pairs import favouring
from ligflow.corpus.reports import consistency_figures
from ligflow.corpus.reports.report import report
from made_once import copy_made_once
from runs_by_hand import run_by_hand


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the pictures, which take most of a report's time."""
    monkeypatch.setattr(consistency_figures, "draw", lambda *_: [])


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on a run with a twin, words, sentences that were left out and a model of a bad name."""
    name = "evil|<script>alert(1)</script> `x` \\input{y}"
    bad = ["made:3: expected | and <b>"]
    change = favouring("itb", "att_itb_a0", "conserving")
    settings: Any = {"units": ("token", "word"), "left_out": {4: "too long <i>"}, "sentences": 14}

    def make(folder: Path) -> None:
        run_by_hand(folder, change=change, name=name, bad=bad, **settings)
        run_by_hand(folder / "twins" / "new-0", name=name, bad=bad, **settings)
        report(folder, folder / "out", draws=100)

    return copy_made_once(tmp_path_factory, "report", make) / "out" / "report.md"
