"""All measures of many methods, on a made-up target whose values are known."""

import pytest
import torch
from torch import Tensor

from ligflow.evaluation import faithfulness, signs_and_amounts
from ligflow.evaluation.judged_maps import GREEDY, HALF, LEAVE_ONE_OUT, MEASURES, POSITIVE, judged

GAINS = torch.tensor([[4.0, 1, 2, 8, -3], [3, 1, 9, 2, 5]], dtype=torch.float64)
PLAYERS = torch.ones(2, 5, dtype=torch.bool)


def additive(removed: Tensor) -> Tensor:
    return (GAINS * ~removed).sum(-1, keepdim=True) + 100


def test_the_contributions_of_an_additive_target_are_perfect() -> None:
    maps = {"true": GAINS, "backwards": -GAINS, "sizes": GAINS.abs()}
    found = judged(additive, maps, frozenset({"true", "backwards"}), PLAYERS, top_k=2)
    assert set(found) == set(MEASURES)
    for measure in ("amounts_alone", "amounts_shapley", "signs", "signs_weighted"):
        assert found[measure]["true"].tolist() == pytest.approx([1, 1]), measure
        assert ("sizes" in found[measure]) == measure.startswith("amounts"), measure
    assert found["amounts_shapley"]["backwards"].tolist() == pytest.approx([-1, -1])
    assert found["signs"]["backwards"].tolist() == [0, 0]
    assert found["signs"][POSITIVE].tolist() == pytest.approx([4 / 5, 1])
    assert found["negatives"]["true"][0].item() == 1
    assert found["shapley_rank"]["true"][1].item() == pytest.approx(1)
    assert found["shapley_rank"][HALF][1].item() == pytest.approx(1)  # nothing depends on the order


def test_controls_and_the_measures_of_curves() -> None:
    maps = {"some": GAINS.flip(1)}
    found = judged(additive, maps, frozenset(), PLAYERS, steps=5)
    expected = faithfulness.measured(additive, GAINS.flip(1)[None], PLAYERS, steps=5)
    for measure in faithfulness.MEASURES:
        torch.testing.assert_close(found[measure]["some"], expected[measure][0])
        assert LEAVE_ONE_OUT in found[measure]
    greedy = found["between"][GREEDY]
    torch.testing.assert_close(greedy, found["deletion"][GREEDY] + found["insertion"][GREEDY] - 1)
    assert (greedy >= found["between"]["some"]).all()
    assert set(found["signs"]) == {POSITIVE}
    assert set(signs_and_amounts.MEASURES) < set(found)


def test_targets_that_say_nothing_are_undefined() -> None:
    players = PLAYERS & torch.tensor([[True], [False]])
    found = judged(additive, {"true": GAINS}, frozenset({"true"}), players)
    for measure, methods in found.items():
        for method, values in methods.items():
            assert values[1].isnan(), (measure, method)
