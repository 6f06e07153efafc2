"""The page on heads says what its kept tables say."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "scripts"))

import heads  # type: ignore[import-not-found]  # noqa: E402

PAGE = heads.PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", ["questions", "candidates", "side-by-side", "relations-ewt", "places-shipped"]
)
def test_blocks_are_those_of_the_tables(name: str) -> None:
    block = dict(heads.blocks())[name]
    assert f"<!-- begin {name} -->\n\n{block}\n\n<!-- end {name} -->" in PAGE


def test_the_first_sentences_are_those_of_the_tables() -> None:
    rows = heads.read_kept("ewt", "relations")
    rows = rows[(rows.candidates == "words, mean of pieces") & (rows["map"] == "LIG")]
    to_head = rows[rows.direction == "dependent to head"].set_index("relation")
    first = to_head.loc["any"]
    assert (first.layer, first["head"]) == (2, 8)
    assert f"On {first.sentences:,} sentences" in PAGE
    assert f"in {first.share:.0%} of the cases" in PAGE
    assert f"has {first.by_offset:.0%}" in PAGE
    best = to_head.loc[["obj", "case", "cop", "nsubj", "det"]]
    assert (best.outcome == "better").all()
    assert f"{100 * best.over.min():.0f} to {100 * best.over.max():.0f} points" in PAGE
    assert f"all {len(rows)} questions at once" in PAGE.replace("\n", " ")
