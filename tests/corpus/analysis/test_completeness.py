"""Certificates of a run counted, and what was left out."""

from pathlib import Path

import pytest

from ligflow.corpus.analysis.completeness import certify, left_out
from runs_by_hand import Row, run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_completeness_counts_integrals_and_flips(tmp_path: Path) -> None:
    def cell(row: Row) -> None:
        if (row["route"], row["baseline"]) == ("z2u", "itb_zero_ratio"):
            row["flipped"] = 1
        if row["sentence"] == 7 and row["layer"] == 3 and row["route"] == "z2z":
            row |= {"certificate": -0.5, "unmet": 1, "nodes": 106, "origin_mass": 0.4}

    found = certify(run_by_hand(tmp_path, cell=cell))
    rows = {(row.route, row.baseline, row.layer): row for row in found}
    ratio, direct = rows["z2u", "itb_zero_ratio", None], rows["z2z", "itb", None]
    assert ratio.integrals == 12 * 2 * 2 * 4
    assert ratio.flipped == pytest.approx(1 / 4)
    assert (direct.unmet, direct.largest, direct.origin_mass) == pytest.approx((2, 0.5, 0.4))
    assert direct.nodes == pytest.approx(10 + 2 * 96 / 48)
    assert direct.median == pytest.approx(1e-4, rel=0.05)
    assert direct.far_from_tame == pytest.approx(2 / 48)
    assert rows["z2z", "itb", 0].unmet == 0
    assert rows["z2z", "itb", 3].far_from_tame == pytest.approx(2 / 24)


def test_left_out_sentences_are_counted_by_reason(tmp_path: Path) -> None:
    reasons = {
        3: "602 tokens, and the model takes 512. Shorten it.",
        8: "717 tokens, and the model takes 512.",
    }
    found = left_out(run_by_hand(tmp_path, left_out=reasons))
    assert (found.explained, found.count) == (10, 2)
    assert found.first[0] == (3, "made:4", reasons[3])
    assert dict(found.reasons) == {"### tokens, and the model takes ###": 2}
