"""Standings of methods: means, places, what may be the best, and whether the one named beforehand is."""

import numpy as np
import pandas
import pytest

from ligflow.corpus.analysis.faithfulness_ranking import Standing, kind, standings, verdicts
from ligflow.evaluation.other_methods import NAMED
from small_trial import made

pytestmark = pytest.mark.usefixtures("no_shape_checks")
NOISE = np.random.default_rng(0).normal(size=40)


def by_method(frame: pandas.DataFrame) -> dict[str, Standing]:
    return {one.method: one for one in standings(frame, draws=400) if one.layer is None}


def outcome(frame: pandas.DataFrame) -> str:
    return next(one.outcome for one in verdicts(frame, draws=200) if one.layer is None)


def test_means_places_and_what_may_be_the_best() -> None:
    found = by_method(made({
        NAMED: (0.9 + NOISE).tolist(), "best": (1 + NOISE).tolist(),
        "noisy": (0.98 + np.roll(NOISE, 7)).tolist(), "random": (5 + NOISE).tolist(),
        "LIG direct mean": (9 + NOISE).tolist(),
    }))  # fmt: skip
    assert found["best"].mean == pytest.approx(1 + NOISE.mean())
    assert (found["best"].place, found["noisy"].place, found[NAMED].place) == (1, 2, 3)
    assert found["random"].place == found["LIG direct mean"].place == 0  # no best of many variants
    assert found["best"].may_be_best
    assert found["noisy"].may_be_best
    assert not found[NAMED].may_be_best  # always below it by 0.1: the difference is paired
    assert found[NAMED].ahead_high == pytest.approx(0)
    assert found[NAMED].ahead_low < 0
    assert found["best"].low < found["best"].mean < found["best"].high
    assert found["best"].targets == 40


def test_a_method_that_some_layer_does_not_have_stands_in_its_layers_only() -> None:
    lower = made({NAMED: [1.0] * 9, "a": [2.0] * 9})
    upper = made({NAMED: [1.0] * 9, "a": [2.0] * 9, "b": [9.0] * 9}).assign(layer=1)
    found = standings(pandas.concat([lower.assign(layer=0), upper]), draws=100)
    assert {row.layer for row in found if row.method == "b"} == {1}
    assert {row.layer for row in found if row.method == "a"} == {None, 0, 1}


def test_kinds() -> None:
    names = (NAMED, "LIG direct itb", "raw attention", "greedy", "leave one out")
    assert [kind(name) for name in names] == ["named", "variant", "other", "control", "control"]


def test_lower_is_better_where_it_is() -> None:
    found = by_method(made({NAMED: [1.0] * 9, "other": [2.0] * 9}, "sufficiency"))
    assert (found[NAMED].place, found["other"].place) == (1, 2)
    assert outcome(made({NAMED: [1.0] * 9, "other": [2.0] * 9}, "sufficiency")) == "holds"


def test_verdicts_come_out_either_way() -> None:
    far = (NOISE + 5).tolist()
    assert (
        outcome(made({NAMED: far, "a": NOISE.tolist(), "LIG direct zero": (NOISE + 9).tolist()})) == "holds"
    )
    assert outcome(made({NAMED: NOISE.tolist(), "a": far, "b": NOISE.tolist()})) == "does not hold"
    assert outcome(made({NAMED: NOISE.tolist(), "a": np.roll(NOISE, 3).tolist()})) == "cannot be told"


def test_a_verdict_says_which_game_is_ones_own() -> None:
    frames = [
        made({NAMED: [1.0] * 9, "a": [2.0] * 9}, "between", name) for name in ("zero", "target", "mean")
    ]
    found = {
        one.replacement: one.own_game for one in verdicts(pandas.concat(frames), 100) if one.layer is None
    }
    assert found == {"zero": False, "target": True, "mean": False}


def test_methods_that_are_alike_are_seldom_told_apart() -> None:
    """Twelve sentences, nine methods with the same mean: a decided verdict in 5% at most, within chance."""
    decided = 0
    for repeat in range(100):
        values = np.random.default_rng(repeat).normal(size=(9, 12))
        names = [NAMED, *(f"method {n}" for n in range(8))]
        decided += outcome(made(dict(zip(names, values.tolist(), strict=True)))) != "cannot be told"
    assert decided <= 11  # of 100 at 5% more than 11 have a chance of 0.4%
