"""The page of a comparison: what stands out is named, the rest is counted, and too few sentences are said."""

from pathlib import Path

import numpy as np
import pandas

from ligflow.corpus.analysis.model_differences import Pair, summed
from ligflow.corpus.reports.comparison_page import change_table, head_table, layer_table, verdict, write


def pairs(count: int = 20, heads: int = 3) -> list[Pair]:
    """Distances of 0.1 everywhere but at layer 1, head 2: 0.5; the layer's own map as far."""
    route = np.full((2, heads), 0.1)
    route[1, 2] = 0.5
    change = np.zeros((2, heads, 12))
    return [Pair(number, (0, 1), route, np.array([0.1, 0.5]), change) for number in range(count)]


def test_the_head_that_stands_out_is_named(tmp_path: Path) -> None:
    differences = summed(pairs(), draws=100)
    words = verdict(differences)
    assert "Distances of heads: 0.1 at the median, from 0.1 to 0.5." in words
    assert "**1 of 6 heads stand out** from the others of their layer: layer 1 head 2 (0.5)." in words
    assert "differ most in layer 1 (0.5); standing out from the other layers: 1." in words
    assert "No measure of any head moves to one side (72 tested)." in words
    first = head_table(differences).splitlines()[2]
    assert first.startswith("| 1 | 2 | **0.5 [0.5, 0.5]** | 0.2 | ")  # twice the median of the others
    assert layer_table(differences).splitlines()[3].startswith("| 1 | **0.5 [0.5, 0.5]** | 0.2 | ")
    assert change_table(differences) == "None stands after all tests."
    page = write(differences, tmp_path, "<A> and B", "20 sentences.")
    assert page.read_text(encoding="utf-8").startswith("# \\<A\\> and B\n\n20 sentences. Distances are half")
    frame = pandas.read_csv(tmp_path / "differences.csv")
    assert frame[frame.family == "route"].found.tolist() == [False] * 5 + [True]
    assert (tmp_path / "compare.svg").is_file()


def test_too_few_sentences_are_said() -> None:
    """6 tests can find something from 2^n >= 6 / 0.05 on: 7 sentences; 72 two-sided ones from 12."""
    words = verdict(summed(pairs(3), draws=100))
    assert "tests of `route`: 6 tests on 3 sentences can find nothing; it takes at least 7." in words
    assert "tests of `change`: 72 tests on 3 sentences can find nothing; it takes at least 12." in words
    assert "Too few" not in verdict(summed(pairs(12), draws=100))


def test_no_difference_at_all() -> None:
    zeros = [Pair(0, (0,), np.zeros((1, 2)), np.zeros(1), np.zeros((1, 2, 12)))]
    assert (
        verdict(summed(zeros, draws=100)) == "**No difference at all**: every row of every map is the same."
    )
