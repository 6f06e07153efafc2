"""Rankings as LaTeX tables."""

from pathlib import Path

import pytest

from ligflow.corpus.tables.schema import DIRECT, PAIRS, RULES
from ligflow.evaluation.consistency import METRICS

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_latex_tables_are_whole(written: Path) -> None:
    tex = (written.parent / "pairs.tex").read_text()
    assert tex.count(r"\begin{table}") == tex.count(r"\end{table}") == len(DIRECT)
    bodies = [line for line in tex.splitlines() if line.endswith(r"\\")]
    assert len(bodies) == len(DIRECT) * (1 + len(PAIRS) * len(RULES))
    assert all(line.count("&") - line.count(r"\&") == 2 + len(METRICS) for line in bodies)
    assert tex.count(r"\textbf") == len(DIRECT) * len(METRICS)
