"""What rankings say in words."""

from pathlib import Path

import pytest

from favoured_pairs import GOOD, favouring
from ligflow.corpus.analysis.controls import controls
from ligflow.corpus.analysis.estimates import estimate
from ligflow.corpus.analysis.finding import verdicts
from ligflow.corpus.analysis.rankings import rank
from ligflow.corpus.analysis.rankings_in_words import best, finding, notes_of, number, warnings_of, within
from ligflow.corpus.tables.schema import DIRECT
from ligflow.evaluation.consistency import METRICS
from runs_by_hand import Row, run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (("itb", "zero", "product"), "**holds** (ATT `itb` / MLP `zero`, product is better than ATT"),
        (
            ("zero", "zero", "product"),
            "**does not hold** (ATT `zero` / MLP `zero`, product is better than",
        ),
    ],
)
def test_the_papers_finding(tmp_path: Path, pair: tuple[str, str, str], words: str) -> None:
    found = verdicts(estimate(run_by_hand(tmp_path, change=favouring(*pair)), draws=200))
    lines = finding(found, "token")
    assert len(lines) == 1 + len(METRICS)
    assert all(line.count(words) == len(DIRECT) for line in lines)
    assert lines[0].startswith("- as the paper measured it, raw L2 of the product rule")
    assert " by 0.3" in lines[1]
    assert "[-" not in "".join(lines)  # a difference that is told as positive has a positive interval


def test_a_finding_that_cannot_be_told_names_both(tmp_path: Path) -> None:
    lines = finding(verdicts(estimate(run_by_hand(tmp_path, sentences=1), draws=200)), "token")
    assert all(line.count("**cannot be told** (ATT ") == len(DIRECT) for line in lines)
    assert all(line.count(" may be as good as ATT ") == len(DIRECT) for line in lines)


def test_a_best_that_is_no_better_than_its_controls_is_said_to_be_so(tmp_path: Path) -> None:
    def change(row: Row) -> None:
        row |= GOOD if row["att"] == "zero" else {}

    found = estimate(run_by_hand(tmp_path, change=change), draws=200)
    line = best(rank(found), controls(found), "token", True)[0]
    assert "may be the best as well: ATT `zero` / MLP `zero`, product" in line
    assert "Cannot be told from its own values in random order (0.1)." in line
    assert "Better than raw attention (0." in line


def test_raw_l2_that_rewards_small_noise_is_warned_of(tmp_path: Path) -> None:
    def change(row: Row) -> None:
        if row["map"] == "shuffled" and row["att"] == "itb_map_ratio":
            row["l2"] = 0.0

    found = estimate(run_by_hand(tmp_path, change=change), draws=100)
    lines = warnings_of(rank(found), controls(found), "token", 40, 3, 2, [])
    assert lines[0] == "Integrals that miss the tolerance: 3; see Completeness."
    assert lines[1] == "Sentences that were left out: 2; see Left out."
    count = len(found.pairs)
    assert f"is nearer than {count} of the {count} real maps" in lines[2]
    assert len(lines) == 3
    notes = list(notes_of(controls(found)))
    assert "cannot fail where correlation is asked for" in notes[0]
    assert "direct `itb`: ATT `itb` / MLP `att_itb_a0`" in notes[-1]
    assert len(list(notes_of([]))) == 1


def test_numbers_are_readable() -> None:
    readable = [number(x) for x in (0.123456, 12.3456, 12345.6, float("nan"))]
    assert readable == ["0.123", "12.3", "12346", "nan"]
    assert within(0.123456, 2) == " [0.123, 2]"
    assert within(float("nan"), 2) == ""
