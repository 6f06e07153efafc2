"""Draws over seeds of weights and sentences."""

from pathlib import Path

import numpy as np
import pytest

from ligflow.corpus.analysis.estimates import Estimates
from ligflow.corpus.analysis.twins import over_seeds, twins_of
from runs_by_hand import run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def made(values: np.ndarray) -> list[Estimates]:
    """Twins [seed, draw] of one cell."""
    nothing = np.zeros((1, 1, 1, 1, 1, 1), dtype=np.int64)
    return [
        Estimates(("token",), (0,), (), 40, 40, draws.reshape(-1, 1, 1, 1, 1, 1, 1), nothing, nothing)
        for draws in values
    ]


def test_the_mean_over_seeds_and_how_it_varies() -> None:
    """Effects of seeds and of sentences: variances add up, with the little more of crossed draws."""
    draw = np.random.default_rng(0)
    effect, sentences = draw.normal(size=(8, 1)), 0.2 * draw.normal(size=(1, 4001))
    found = over_seeds("new weights", made(effect + sentences), seed=0)
    assert (found.seeds, found.clusters) == (8, 8)
    assert found.draws[0].item() == pytest.approx(effect.mean() + sentences[0, 0])
    spread = np.nanvar(found.draws[1:])
    assert spread == pytest.approx(effect.var() / 8 + 0.04, rel=0.2)


def test_one_seed_is_taken_as_it_is() -> None:
    values = np.random.default_rng(0).normal(size=(1, 101))
    found = over_seeds("new weights", made(values), seed=0)
    np.testing.assert_array_equal(found.draws.ravel(), values.ravel())
    assert found.clusters == 40  # sentences


def test_what_no_seed_defines_is_not_defined() -> None:
    values = np.ones((3, 101))
    values[:, 0], values[0] = np.nan, np.nan
    found = over_seeds("new weights", made(values), seed=0).draws.ravel()
    assert np.isnan(found[0])
    assert np.nanmax(np.abs(found - 1)) == 0


def test_twins_that_are_not_begun_are_none(tmp_path: Path) -> None:
    begun, other = run_by_hand(tmp_path / "one"), run_by_hand(tmp_path / "other", unfinished=3)
    found = twins_of({"new weights": [begun, other], "permuted weights": [other]}, draws=100, seed=0)
    assert {kind: twins.seeds for kind, twins in found.items()} == {"new weights": 1}
