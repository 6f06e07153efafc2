"""The page on a trial of methods."""

import sys
from pathlib import Path

import pandas
import pytest

from ligflow.corpus.analysis.faithfulness_ranking import standings, verdicts
from ligflow.corpus.reports.faithfulness_page import CURVES, MAIN, standing_table, verdict
from ligflow.evaluation.judged_maps import GREEDY, HALF
from ligflow.evaluation.other_methods import NAMED
from small_trial import made

pytestmark = pytest.mark.usefixtures("no_shape_checks")
VALUES = {
    "random": [0.9] * 9, "LIG direct zero": [0.8] * 9, "LIG direct mean": [0.7] * 9, NAMED: [0.1] * 9,
    "other": [0.2] * 9,
}  # fmt: skip


def lines(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines()[2:]]


def test_a_table_in_the_order_of_the_places() -> None:
    frames = [made(VALUES, measure) for measure in MAIN] + [made({HALF: [0.6] * 9}, MAIN[0])]
    body = lines(standing_table(standings(pandas.concat(frames), draws=100), "zero", "words"))
    assert [line[0] for line in body] == [
        "other", NAMED, "LIG direct zero *", "LIG direct mean", "random", "ceiling",
    ]  # fmt: skip
    assert body[0][1] == "**0.200 ± 0.000**"
    assert body[1][1] == "0.100 ± 0.000"
    assert body[-1] == ["ceiling", "0.866", "", "", "", ""]  # sqrt(1.2 / 1.6)


def test_a_greedy_order_is_the_ceiling_of_curves() -> None:
    frames = [made(VALUES | {GREEDY: [0.95] * 9}, measure) for measure in CURVES]
    body = lines(standing_table(standings(pandas.concat(frames), draws=100), "zero", "words", CURVES))
    assert body[-1] == ["ceiling", *["0.950 ± 0.000"] * 4]
    assert GREEDY not in [line[0] for line in body]


def test_words_of_a_verdict() -> None:
    frames = [made(VALUES, "between", name) for name in ("zero", "target")]
    found = verdict(verdicts(pandas.concat(frames), draws=100))
    assert found == [
        f"- Sources replaced by zero, between: `{NAMED}` **is not the best**; `other` has the best mean.",
        f"- Sources replaced by target, between: `{NAMED}` **is not the best**; `other` has the best mean. "
        "It starts where removed sources are put: this game is its own.",
    ]


def test_the_page_in_the_docs_holds_the_tables_that_are_kept() -> None:
    root = Path(__file__).parents[3]
    sys.path.insert(0, str(root / "docs" / "scripts"))
    import faithfulness  # type: ignore[import-not-found]

    text = faithfulness.PAGE.read_text(encoding="utf-8")
    for model in faithfulness.MODELS:
        for name, block in faithfulness.blocks(model):
            expected = f"<!-- begin {name} -->\n\n{block}\n\n<!-- end {name} -->"
            assert expected in text, f"{name}: run python docs/scripts/faithfulness.py --tables"
