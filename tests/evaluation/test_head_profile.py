"""Measures of a head with known answers."""

import math

import numpy as np
import pytest
import torch

from ligflow.corpus.analysis.head_profiles import KINDS, MEASURES
from ligflow.evaluation import head_profile
from one_head import mean_of, of

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_a_previous_token_head() -> None:
    rows = torch.zeros(6, 6)
    rows[torch.arange(1, 6), torch.arange(5)] = -2.0
    rows[0, 0] = 1
    found = of(rows + 1e-12)
    assert mean_of(found, "previous") == pytest.approx(1, abs=1e-6)
    assert mean_of(found, "next") == pytest.approx(0, abs=1e-6)
    assert mean_of(found, "distance") == pytest.approx(5 / 6, abs=1e-6)
    assert mean_of(found, "entropy") == pytest.approx(0, abs=1e-6)
    assert mean_of(found, "previous over chance") == pytest.approx(5 / 6, abs=1e-6)


def test_a_uniform_head_is_at_chance_everywhere() -> None:
    found = of(torch.ones(6, 6))
    for kind in KINDS:
        assert mean_of(found, f"{kind} over chance") == pytest.approx(0, abs=1e-9), kind
    assert mean_of(found, "entropy") == pytest.approx(1)
    assert mean_of(found, "self") == pytest.approx(1 / 6)
    assert mean_of(found, "separator") == pytest.approx(1 / 6)  # [SEP], read by the five others
    assert mean_of(found, "same word") == pytest.approx(1 / 6)


def test_a_head_that_reads_the_syntactic_head() -> None:
    rows = torch.full((6, 6), 1e-9)
    rows[1, 2] = rows[4, 3] = 1.0  # `the` and `.` hang from `lighthouse`
    rows[2, 1] = rows[3, 4] = 1.0  # which reads its dependents
    found = of(rows)
    assert mean_of(found, "head") == pytest.approx(1, abs=1e-6)
    assert mean_of(found, "dependent") == pytest.approx(1, abs=1e-6)
    assert np.isfinite(found[KINDS.index("head")]).sum() == 2


def test_chance_is_the_mean_over_all_orders() -> None:
    draw = torch.Generator().manual_seed(0)
    row, kind = torch.rand(5, generator=draw), torch.tensor([True, False, True, False, False])
    share = (row / row.sum()).tolist()
    import itertools

    every = [sum(v for v, k in zip(order, kind, strict=True) if k) for order in itertools.permutations(share)]
    found = head_profile.chance(kind[None, None], torch.ones(1, 5, dtype=torch.bool))
    assert float(found) == pytest.approx(sum(every) / len(every))


def test_rows_that_did_not_move_count_for_nothing() -> None:
    rows = torch.zeros(6, 6)
    rows[2, 1] = 3.0
    found = of(rows)
    assert np.isfinite(found[KINDS.index("previous")]).sum() == 1


def test_a_causal_head_is_held_against_what_its_targets_see() -> None:
    """Under ITB a target does not move itself, but sees itself; what comes later is not among the orders."""
    found = of(torch.ones(6, 6).tril(-1))
    later = np.arange(1.0, 6)  # targets 1 to 5 read as many tokens before them, and see one more
    for measure, known in {
        "self": 0 * later,
        "self over chance": -1 / (later + 1),
        "first over chance": 1 / later - 1 / (later + 1),
        "previous over chance": 1 / later - 1 / (later + 1),
        "entropy": np.log(later) / np.log(later + 1),
    }.items():
        assert found[MEASURES.index(measure), 1:] == pytest.approx(known), measure
    assert np.isnan(found[:, 0]).all()  # it has nothing to read
    assert np.isnan(found[MEASURES.index("next")]).all()


def test_entropy_of_two() -> None:
    share = torch.tensor([[[[0.5, 0.5, 0.0]]]])
    found = head_profile.entropy(share, torch.tensor([[True, True, True]]))
    assert float(found) == pytest.approx(math.log(2) / math.log(3))
