"""Means of a run and their draws, against the rows themselves."""

from pathlib import Path

import numpy as np
import pandas
import pytest

from favoured_pairs import frame_of
from ligflow import LigflowError
from ligflow.corpus.analysis.estimates import estimate
from ligflow.corpus.tables.schema import DIRECT, PAIRS, RULES
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
        for kind, att, mlp, rule in ours.others:
            some = rows[rows["map"] == kind]
            if att is not None:
                some = some[(some.att == att) & (some.mlp == mlp) & (some.rule == rule)]
            means = some[list(METRICS)].mean()
            means["relative_l2"] = by_sentence(some, ["sentence"])
            np.testing.assert_allclose(at[ours.others.index((kind, att, mlp, rule))], means, rtol=1e-6)


def by_sentence(rows: pandas.DataFrame, of: list[str]) -> float:
    """The mean over sentences (and layers) of the relative L2 of whole maps, with norms of 1."""
    maps = rows.groupby(of).l2
    return float(((maps.apply(lambda l2: (l2**2).sum()) / maps.size()) ** 0.5).mean())


def test_all_layers_together_are_all_rows(tmp_path: Path) -> None:
    found = run_by_hand(tmp_path)
    ours, frame = estimate(found, draws=100), frame_of(found)
    rows = frame[(frame["map"] == "attention") & (frame.direct == "itb") & frame.diagonal]
    attention, means = len(ours.others) - 1, rows[list(METRICS)].mean()
    assert ours.others[attention] == ("attention", None, None, None)
    means["relative_l2"] = by_sentence(rows, ["sentence", "layer"])
    np.testing.assert_allclose(ours.mean[0, 0, 2, DIRECT.index("itb"), attention], means, rtol=1e-6)
    counts = [len(rows) if metric != "relative_l2" else 2 * 12 for metric in METRICS]
    assert ours.cells[0, 0, 2, DIRECT.index("itb"), attention].tolist() == counts
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


def test_a_row_that_hardly_moves_does_not_decide_a_relative_distance(tmp_path: Path) -> None:
    """By rows 1 / 1e-9 would be in the mean; of the whole map it is 1 against 4 of a size of 4."""

    def change(row: Row) -> None:
        first = row["target"] == 0
        row |= {"l2": 1.0, "norm": 1e-9 if first else 4.0, "relative_l2": 1e9 if first else 0.25}

    found = estimate(run_by_hand(tmp_path, change=change), draws=100)
    two, three = np.sqrt(2) / 4, np.sqrt(3 / 32)  # targets, of sentences of even and of odd numbers
    assert found.mean[..., METRICS.index("relative_l2")] == pytest.approx((two + three) / 2)


def test_what_is_compared_is_read_off_the_run(tmp_path: Path) -> None:
    found = estimate(run_by_hand(tmp_path), draws=100)
    assert len(found.pairs) == len(PAIRS) * len(RULES)
    assert found.controls == ("shuffled", "attention")
    pair = ("itb", "zero", "product")
    assert found.others[found.place("composed", pair) or 0] == ("composed", *pair)
    assert found.others[found.place("shuffled", pair) or 0] == ("shuffled", *pair)
    assert found.place("attention", pair) == found.others.index(("attention", None, None, None))
    assert found.place("unknown", pair) is None


def test_what_one_direct_map_alone_is_compared_with(tmp_path: Path) -> None:
    """A control that only some direct maps have: elsewhere there are no cells, and no mean."""

    def of_another(row: Row) -> bool:
        return row["map"] == "shuffled" and row["direct"] != "itb"

    found = estimate(run_by_hand(tmp_path, drop=of_another), draws=100)
    shuffled = found.place("shuffled", ("itb", "zero", "product"))
    itb = DIRECT.index("itb")
    assert (found.cells[..., itb, shuffled, :] > 0).all()
    for direct in set(range(len(DIRECT))) - {itb}:
        assert (found.cells + found.undefined)[..., direct, shuffled, :].sum() == 0
        assert np.isnan(found.mean[..., direct, shuffled, :]).all()
