from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ligflow.prediction.path_average import average
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.segment import Segment
from ligflow.prediction.segment_errors import terms_rounding

STEP = torch.tensor([[0.7], [-0.4]], dtype=torch.float64)  # two tokens of one number


def _segment(function, tokenwise: bool = True) -> tuple[Segment, dict[str, Variable]]:
    real, reference = STEP + 0.2, torch.full_like(STEP, 0.2)
    segment = Segment("f", 0, "f", ("x",), ("y",), lambda values: {"y": function(values["x"])}, tokenwise)
    return segment, {
        "x": Variable(real, reference),
        "y": Variable(function(real[None])[0], function(reference[None])[0]),
    }


def _averaged(function, allowance: float, tokenwise: bool = True, ahead: int = 0, **more: int):
    segment, variables = _segment(function, tokenwise)
    segment = replace(segment, ahead=ahead)
    above = {"y": torch.tensor([[[1.0], [2.0]]], dtype=torch.float64)}
    limit = torch.tensor([allowance], dtype=torch.float64)
    return average(segment, variables, above, {"y": above["y"] * 0.1}, limit, **more)


def test_the_average_of_a_token_s_slope_is_its_change_over_its_step() -> None:
    result = _averaged(torch.exp, 1e-12)
    wanted = (torch.exp(STEP + 0.2) - torch.exp(torch.full_like(STEP, 0.2))) / STEP
    assert torch.allclose(result.cotangents["x"][0], wanted * torch.tensor([[1.0], [2.0]]), atol=1e-12)
    assert float(result.residue.abs()) < 1e-12


def test_carried_cotangents_go_through_the_midpoint() -> None:
    result = _averaged(torch.exp, 1.0)
    slope = torch.exp(0.2 + STEP / 2)
    assert torch.allclose(result.carried["x"][0], 0.1 * slope * torch.tensor([[1.0], [2.0]]), atol=1e-12)


def test_more_points_are_taken_until_the_error_of_every_token_is_small() -> None:
    counts = [
        _averaged(lambda x: torch.sin(9 * x), allowance).points.item() for allowance in (1.0, 1e-4, 1e-9)
    ]
    assert counts == sorted(counts)
    assert counts[0] == 7 < counts[-1]


@pytest.mark.parametrize("allowance", [1.0, 1e-4, 1e-9])
def test_points_that_go_through_at_once_change_nothing(allowance: float) -> None:
    runs = list[int]()

    def wave(x: Tensor) -> Tensor:
        if x.requires_grad:
            runs.append(len(x))
        return torch.sin(9 * x)

    one_by_one, at_once = (_averaged(wave, allowance, ahead=ahead) for ahead in (0, 3))
    assert runs[-2:] == [1, 14] or allowance < 1e-4
    assert torch.equal(at_once.points, one_by_one.points)
    for named in ("cotangents", "local", "carried"):
        ours, theirs = getattr(at_once, named)["x"], getattr(one_by_one, named)["x"]
        torch.testing.assert_close(ours, theirs, atol=1e-13, rtol=1e-12)


def test_a_sharp_step_is_cut_into_halves_and_its_error_is_known() -> None:
    def sharp(x: Tensor) -> Tensor:
        return torch.sigmoid(900 * (x - 0.61))

    result = _averaged(sharp, 1e-5, max_points=2000)
    wanted = (sharp(STEP + 0.2) - sharp(torch.full_like(STEP, 0.2))) / STEP
    assert int(result.points) > 31
    assert torch.allclose(result.cotangents["x"][0], wanted * torch.tensor([[1.0], [2.0]]), atol=1e-4)
    assert float(result.error) <= 1e-5
    for most in (31, 100):
        assert int(_averaged(sharp, 1e-9, max_points=most).points) <= most
    few = _averaged(sharp, 1e-5, max_points=31)
    true = (few.cotangents["x"][0] - wanted * torch.tensor([[1.0], [2.0]])).mul(STEP).abs().sum()
    assert float(few.error) == pytest.approx(float(true), rel=1e-6)  # token by token it is known


def test_a_path_is_cut_no_further_where_only_rounding_is_left() -> None:
    """Large terms that cancel: what float32 leaves of their sum is not less in parts of the path."""
    factors, ends = torch.tensor([3e4, -1e4, -2e4]), torch.tensor([[0.1], [0.9]]).expand(2, 3)

    def points_of(function) -> int:
        segment = Segment(
            "f", 0, "f", ("x",), ("y",), lambda values: {"y": function(values["x"])}, tokenwise=True
        )
        variables = {
            "x": Variable(ends[1:], ends[:1]), "y": Variable(function(ends[1:]), function(ends[:1]))
        }  # fmt: skip
        above = {"y": torch.ones(1, 1, 1)}
        result = average(segment, variables, above, {}, torch.tensor([1e-9], dtype=torch.float64))
        assert float(result.error) > 1e-9
        return int(result.points)

    assert points_of(lambda x: (factors * torch.sin(3 * x)).sum(-1, keepdim=True)) <= 31 + 4 * 30
    sharp = torch.tensor([0.0, 0.0, 1.0])
    assert points_of(lambda x: (sharp * torch.sigmoid(900 * (x - 0.61))).sum(-1, keepdim=True)) > 31


def test_what_large_terms_of_other_tokens_would_hide_is_cut_all_the_same() -> None:
    """The sharp step of one token is within the roundings of all terms, but is less in parts."""
    count = 300
    factors = torch.tensor([3e4, -1e4, -2e4, 0.0])
    sharp = torch.zeros(count, 4)
    sharp[0, 3] = 1

    def both(x: Tensor) -> Tensor:
        return (factors * torch.sin(3 * x) + sharp * torch.sigmoid(900 * (x - 0.61))).sum(-1, keepdim=True)

    segment = Segment("f", 0, "f", ("x",), ("y",), lambda values: {"y": both(values["x"])}, tokenwise=True)
    ends = torch.tensor([0.1, 0.9])[:, None, None].expand(2, count, 4)
    variables = {"x": Variable(ends[1], ends[0]), "y": Variable(both(ends[1]), both(ends[0]))}
    above = {"y": torch.ones(1, count, 1)}
    limit = torch.tensor([1e-9], dtype=torch.float64)
    once, cut = (average(segment, variables, above, {}, limit, max_points=most) for most in (31, 511))
    rounding = 40 * terms_rounding({"x": variables["x"]}, once.cotangents)
    assert float(once.error) < float(rounding.sum())
    wanted = float((both(ends[1]) - both(ends[0]))[0, 0])
    off = [abs(float(each.cotangents["x"][0, 0] @ torch.full((4,), 0.8)) - wanted) for each in (once, cut)]
    assert off[1] < off[0] / 4
    assert int(cut.points) > 91


def test_rows_that_are_done_wait_for_those_whose_path_is_cut() -> None:
    def sharp(x: Tensor) -> Tensor:
        return torch.sigmoid(900 * (x - 0.61))

    segment, variables = _segment(sharp)
    above = {"y": torch.tensor([[[1.0], [2.0]], [[0.0], [0.0]]], dtype=torch.float64)}
    limits = torch.full((2,), 1e-5, dtype=torch.float64)
    result = average(segment, variables, above, {}, limits, max_points=2000)
    alone = average(segment, variables, {"y": above["y"][:1]}, {}, limits[:1], max_points=2000)
    torch.testing.assert_close(result.cotangents["x"][:1], alone.cotangents["x"], atol=1e-12, rtol=1e-12)
    assert float(result.error[0]) <= 1e-5
    assert not result.cotangents["x"][1].any()


def test_where_tokens_mix_the_error_is_estimated_from_three_levels() -> None:
    result = _averaged(lambda x: torch.sin(3 * x) * x.flip(1), 1e-6, tokenwise=False)
    finest = _averaged(lambda x: torch.sin(3 * x) * x.flip(1), 0.0, tokenwise=False, max_points=31)
    true = (result.cotangents["x"] - finest.cotangents["x"]).mul(STEP).abs().sum()
    assert float(true) <= float(result.error) <= 1e-6


def test_errors_are_carried_with_the_sign_that_is_known() -> None:
    def steep(x: Tensor) -> Tensor:
        return torch.sin(14 * x)

    result = _averaged(steep, 1e9)
    wanted = (steep(STEP + 0.2) - steep(torch.full_like(STEP, 0.2))) / STEP * torch.tensor([[1.0], [2.0]])
    off = (result.cotangents["x"][0] - wanted).mul(STEP)[:, 0]
    local = result.local["x"][0].mul(STEP)[:, 0]
    assert float(off.abs().max()) > 1e-6
    worst = off.abs().argmax()
    assert torch.equal(local.sign(), off.sign())
    assert float(local[worst]) == pytest.approx(float(off[worst]), rel=0.5)
    assert bool((local.abs() <= off.abs() * (1 + 1e-9)).all())


def test_rows_of_an_answer_share_the_points_of_the_worst() -> None:
    segment, variables = _segment(lambda x: torch.sin(40 * x))
    above = {"y": torch.tensor([[[1.0], [2.0]], [[1e-9], [0.0]]], dtype=torch.float64)}
    limit = torch.full((2,), 1e-6, dtype=torch.float64)
    result = average(segment, variables, above, {}, limit)
    alone = average(segment, variables, {"y": above["y"][:1]}, {}, limit[:1])
    assert result.points.tolist() == alone.points.tolist() * 2 > [7, 7]
    assert torch.allclose(result.cotangents["x"][:1], alone.cotangents["x"])


def test_some_rows_are_put_anew() -> None:
    segment, variables = _segment(torch.exp)
    above = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]], dtype=torch.float64)
    limit = torch.ones(2, dtype=torch.float64)
    both = average(segment, variables, {"y": above}, {}, limit)
    other = average(segment, variables, {"y": above[:1] * 5}, {}, limit[:1])
    renewed = both.with_rows(torch.tensor([1]), other)
    assert torch.equal(renewed.cotangents["x"][0], both.cotangents["x"][0])
    assert torch.equal(renewed.cotangents["x"][1], other.cotangents["x"][0])


def _jumping(x: Tensor) -> Tensor:
    """A jump that no point of a rule sees, at 0.41: one token's path crosses it, the other's does not."""
    return x + 3 * (x > 0.41)


def test_what_a_jump_takes_from_the_sum_is_an_error_of_its_token_along_its_motion() -> None:
    result = _averaged(_jumping, 1e-6, max_points=31)
    torch.testing.assert_close(result.residue, torch.tensor([-3.0]).double())
    local = (result.local["x"][0] * STEP).sum(-1)
    torch.testing.assert_close(local, torch.tensor([-3.0, 0.0]).double())


def test_where_tokens_mix_they_share_what_is_missed_by_the_size_of_their_relevance() -> None:
    result = _averaged(_jumping, 1e-6, tokenwise=False, max_points=31)
    relevance = (result.cotangents["x"][0] * STEP).sum(-1)  # .7 and twice -.4
    torch.testing.assert_close(relevance, torch.tensor([0.7, -0.8]).double())
    local = (result.local["x"][0] * STEP).sum(-1)
    torch.testing.assert_close(local, -3 * relevance.abs() / 1.5)


@pytest.mark.parametrize("tokenwise", [True, False])
def test_an_error_is_what_is_left_of_the_last_change_between_rules(tokenwise: bool) -> None:
    """Seven points of Patterson beside three of Gauss, whose change is some 4e-5 and leaves far less."""
    nodes, weights = torch.tensor([0.5 - 0.15**0.5, 0.5, 0.5 + 0.15**0.5]), torch.tensor([5, 8, 5]) / 18
    result = _averaged(lambda x: torch.exp(4 * x), 1.0, tokenwise)
    x = 0.2 + nodes.double() * STEP
    three = 4 * (torch.exp(4 * x) * weights.double()).sum(-1) * torch.tensor([1.0, 2.0]).double()
    change = ((result.cotangents["x"][0, :, 0] - three) * STEP[:, 0]).abs().sum()
    left = (result.local["x"][0] * STEP).abs().sum()
    assert int(result.points) == 7
    assert float(change) > 1e-5
    assert 0 < float(left) < 0.02 * float(change)
