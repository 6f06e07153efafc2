"""What rankings say in words."""

from pathlib import Path

import pytest

from favoured_pairs import GOOD, favouring
from ligflow.corpus.analysis.estimates import estimate
from ligflow.corpus.analysis.rankings import rank
from ligflow.corpus.analysis.rankings_in_words import best, finding, number, warnings_of
from ligflow.corpus.tables.schema import DIRECT
from ligflow.evaluation.consistency import METRICS
from runs_by_hand import Row, run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (("itb", "zero", "product"), "**holds** (best: ATT `itb` / MLP `zero`, product)"),
        (("zero", "zero", "product"), "**does not hold** (ATT `zero` / MLP `zero`, product is better than"),
    ],
)
def test_the_papers_finding(tmp_path: Path, pair: tuple[str, str, str], words: str) -> None:
    found = estimate(run_by_hand(tmp_path, change=favouring(*pair)), draws=200)
    lines = finding(rank(found), rank(found, rules=("product",)), "token")
    assert len(lines) == 1 + len(METRICS)
    assert all(line.count(words) == len(DIRECT) for line in lines)


def test_a_best_that_is_no_better_than_its_controls_is_said_to_be_so(tmp_path: Path) -> None:
    def change(row: Row) -> None:
        row |= GOOD if row["att"] == "zero" else {}

    line = best(rank(estimate(run_by_hand(tmp_path, change=change), draws=200)), "token", True)[0]
    assert "not to be told from it: ATT `zero` / MLP `zero`, product" in line
    assert "It is not better than its own values shuffled (0.1)." in line


def test_raw_l2_that_rewards_small_noise_is_warned_of(tmp_path: Path) -> None:
    def change(row: Row) -> None:
        if row["map"] == "shuffled" and row["att"] == "itb_map_ratio":
            row["l2"] = 0.0

    ranked = rank(estimate(run_by_hand(tmp_path, change=change), draws=100))
    lines = warnings_of(ranked, "token", 40, 3, 2, [])
    assert lines[0] == "Integrals that miss the tolerance: 3; see Completeness."
    assert lines[1] == "Sentences that were left out: 2; see Left out."
    assert "is better than 24 of the 24 real maps" in lines[2]


def test_numbers_are_readable() -> None:
    assert [number(x) for x in (0.123456, 12.3456, 12345.6, float("nan"))] == [
        "0.123",
        "12.3",
        "12346",
        "nan",
    ]
