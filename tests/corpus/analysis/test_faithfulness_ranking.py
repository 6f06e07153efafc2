"""Standings of methods: means, places, and what cannot be told from the best."""

import numpy as np
import pandas
import pytest

from ligflow.corpus.analysis.faithfulness_ranking import Standing, standings
from small_trial import made

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def by_method(frame: pandas.DataFrame) -> dict[str, Standing]:
    return {one.method: one for one in standings(frame, draws=400) if one.layer is None}


def test_means_places_and_what_cannot_be_told_from_the_best() -> None:
    noise = np.random.default_rng(0).normal(size=40)
    found = by_method(made({
        "best": (1 + noise).tolist(), "shifted": (0.9 + noise).tolist(),
        "noisy": (0.98 + np.roll(noise, 7)).tolist(), "random": (5 + noise).tolist(),
    }))  # fmt: skip
    assert found["best"].mean == pytest.approx(1 + noise.mean())
    assert (found["best"].place, found["noisy"].place, found["shifted"].place) == (1, 2, 3)
    assert found["random"].place == 0
    assert found["best"].as_good
    assert found["noisy"].as_good
    assert not found["shifted"].as_good  # always below it by 0.1: the difference is paired
    assert found["best"].low < found["best"].mean < found["best"].high
    assert found["best"].targets == 40


def test_lower_is_better_where_it_is() -> None:
    found = by_method(made({"one": [1.0] * 9, "other": [2.0] * 9}, "sufficiency"))
    assert (found["one"].place, found["other"].place) == (1, 2)
