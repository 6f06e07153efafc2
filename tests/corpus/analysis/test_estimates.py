"""Means of a run and their draws, against the rows themselves."""

from pathlib import Path

import numpy as np
import pytest

from favoured_pairs import frame_of
from ligflow import LigflowError
from ligflow.corpus.analysis.estimates import ATTENTION, PAIRS, SHUFFLED, estimate
from ligflow.corpus.tables.schema import DIRECT
from ligflow.evaluation.consistency import METRICS
from runs_by_hand import Row, run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_means_are_those_of_the_rows(tmp_path: Path) -> None:
    found = run_by_hand(tmp_path, units=("token", "word"))
    ours, frame = estimate(found, draws=100), frame_of(found)
    assert (ours.units, ours.layers, ours.sentences) == (("token", "word"), (0, 3), 12)
    for unit, layer, direct, diagonal in (("token", 3, "itb", True), ("word", 0, "zero", False)):
        rows = frame[
            (frame.unit == unit) & (frame.layer == layer) & (frame.direct == direct)
            & (frame.diagonal == diagonal)
        ]  # fmt: skip
        at = ours.mean[
            ours.units.index(unit), int(not diagonal), ours.layers.index(layer), DIRECT.index(direct)
        ]
        for kind, place in (("composed", 0), ("shuffled", SHUFFLED.start)):
            for n, (att, mlp, rule) in enumerate(PAIRS):
                some = rows[
                    (rows["map"] == kind) & (rows.att == att) & (rows.mlp == mlp) & (rows.rule == rule)
                ]
                np.testing.assert_allclose(at[place + n], some[list(METRICS)].mean(), rtol=1e-6)
        attention = rows[rows["map"] == "attention"][list(METRICS)].mean()
        np.testing.assert_allclose(at[ATTENTION], attention, rtol=1e-6)


def test_all_layers_together_are_all_rows(tmp_path: Path) -> None:
    found = run_by_hand(tmp_path)
    ours, frame = estimate(found, draws=100), frame_of(found)
    rows = frame[(frame["map"] == "attention") & (frame.direct == "itb") & frame.diagonal]
    np.testing.assert_allclose(
        ours.mean[0, 0, 2, DIRECT.index("itb"), ATTENTION], rows[list(METRICS)].mean(), rtol=1e-6
    )
    assert ours.cells[0, 0, 2, DIRECT.index("itb"), ATTENTION].tolist() == [len(rows)] * len(METRICS)
    assert not ours.undefined.any()


@pytest.mark.parametrize("shard_size", [1, 12])
def test_shards_do_not_matter(tmp_path: Path, shard_size: int) -> None:
    one, other = (
        estimate(run_by_hand(tmp_path / str(size), shard_size=size), draws=200) for size in (5, shard_size)
    )
    np.testing.assert_allclose(one.draws, other.draws, rtol=1e-12)


def test_what_is_not_defined_is_counted_and_not_part_of_a_mean(tmp_path: Path) -> None:
    def change(row: Row) -> None:
        row["pearson"] = None if row["target"] == 0 else 0.5

    ours = estimate(run_by_hand(tmp_path, change=change), draws=100)
    pearson = METRICS.index("pearson")
    assert (ours.mean[..., pearson] == 0.5).all()
    assert ours.undefined[0, 0, 0, 0, 0].tolist() == [12 if n == pearson else 0 for n in range(len(METRICS))]
    assert ours.cells[0, 0, 0, 0, 0, pearson] == 18  # 6 sentences with one more target, 6 with two


def test_draws_must_be_many(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="draws is 99; an interval takes at least 100"):
        estimate(run_by_hand(tmp_path), draws=99)
