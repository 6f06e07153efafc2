"""The chain on segments made by hand: closed forms, errors carried down, allowances, a second pass."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from ligflow.prediction.chain import Accuracy, Chain, Graph, chain, no_less_than_missing
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.segment import Segment

Function = Callable[[Tensor], Tensor]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def stack(functions: Sequence[Function], real: Tensor, reference: Tensor, tokenwise: bool = True) -> Graph:
    """Functions of tokens one after the other, the last of which gives the score, with a cut before each."""
    variables, segments = {"x0": Variable(real, reference)}, []
    for number, function in enumerate(functions):
        last = number == len(functions) - 1
        source, image = f"x{number}", "score" if last else f"x{number + 1}"
        real, reference = (function(each[None])[0] for each in (real, reference))
        variables[image] = Variable(real, reference, -1 if last else 0)

        def run(values, function=function, source=source, image=image):
            return {image: function(values[source])}

        segments.append(Segment(f"f{number}", number, "f", (source,), (image,), run, tokenwise and not last))
    cuts = [(f"before f{number}", number) for number in range(len(functions))]
    return Graph(segments, variables, cuts, len(variables["x0"].real))


def explained(graph: Graph, accuracy: Accuracy) -> Chain:
    return chain(graph, graph.variables["score"].step, accuracy, nn.Module())


def summed(power: int = 1) -> Function:
    return lambda states: states.sum((1, 2))[:, None] ** power


def test_a_square_of_a_sum_of_exponentials_has_a_closed_form_at_both_cuts() -> None:
    """`s = (Σ e^x)²`: at either cut a token has `Σ_d (e^x - e^x°) (S + S°)`."""
    real, reference = drawn(4, 3), drawn(4, 3, seed=1)
    result = explained(stack([torch.exp, summed(2)], real, reference), Accuracy(1e-9))
    ends = real.exp(), reference.exp()
    wanted = (ends[0] - ends[1]).sum(-1) * (ends[0].sum() + ends[1].sum())
    torch.testing.assert_close(result.by_depth[0], wanted.expand(2, -1), atol=1e-9, rtol=1e-9)
    assert float(result.error.sum()) <= 1e-9 * float(wanted.abs().sum())


def test_a_variable_that_enters_late_is_told_apart() -> None:
    """`s = Σ (x + e)²` where only x comes from below: of each token `(x - x°) (c + c°)` and the same of e."""
    x, e = (Variable(drawn(3, 2, seed=s), drawn(3, 2, seed=s + 1), late=s == 7) for s in (5, 7))
    both = x.real + e.real, x.reference + e.reference
    score = Variable((both[0] ** 2).sum()[None], (both[1] ** 2).sum()[None], -1)
    segment = Segment(
        "s",
        0,
        "s",
        ("x", "e"),
        ("score",),
        lambda v: {"score": ((v["x"] + v["e"]) ** 2).sum((1, 2))[:, None]},
    )
    graph = Graph([segment], {"x": x, "e": e, "score": score}, [("embeddings", 0)], 3)
    result = explained(graph, Accuracy())
    shares = [(each.step * sum(both)).sum(-1) for each in (x, e)]
    torch.testing.assert_close(result.by_depth[0, 0], shares[0] + shares[1])
    torch.testing.assert_close(result.late[0, 0], shares[1])


def test_errors_made_above_show_at_the_input() -> None:
    """The lower segment is affine and makes none: what is estimated at the input was made at the top."""
    real, reference = drawn(4, 1), drawn(4, 1, seed=1)
    functions = [lambda h: 2 * h + h.new_ones(()), lambda h: torch.sin(4 * h).sum((1, 2))[:, None]]
    result = explained(stack(functions, real, reference), Accuracy(points=7))
    wanted = (torch.sin(8 * real + 4) - torch.sin(8 * reference + 4)).sum(-1)
    true = float((result.by_depth[0, 0] - wanted).abs().sum())
    assert true > 1e-6
    assert 0.1 * true < float(result.error.sum()) < 50 * true
    functions[0] = lambda h: 2 * h.flip(1) + h.new_ones(())  # each token reads another one
    turned = explained(stack(functions, real.flip(0), reference.flip(0), tokenwise=False), Accuracy(points=7))
    torch.testing.assert_close(turned.error[0], result.error[0].flip(0))


WEIGHTS = [1.2 * drawn(3, 3, seed=seed + 1) for seed in range(12)]
WAVES: list[Function] = [lambda h, w=w: torch.sin(3 * h @ w) for w in WEIGHTS]  # type: ignore[misc]


def test_where_errors_add_up_to_more_than_the_tolerance_the_chain_is_run_once_more() -> None:
    """Waves upon waves blow errors up: those that every segment may make are too many in the end."""
    graph = stack([*WAVES, summed()], drawn(4, 3), drawn(4, 3, seed=20))
    usual, exact = (explained(graph, Accuracy(tol, 4000)) for tol in (1e-3, 1e-9))
    change = float(graph.variables["score"].step.abs())
    scale = max(change, float(exact.by_depth[0, 0].abs().sum()))
    assert float(usual.error.sum()) <= 1e-3 * scale
    assert float((usual.by_depth[0, 0] - exact.by_depth[0, 0]).abs().sum()) <= 1e-3 * scale
    pinned = explained(graph, Accuracy(1e-3, points=7))  # never run again
    assert float(pinned.error.sum()) > 1e-3 * scale


def test_a_segment_may_err_by_what_those_above_left() -> None:
    """Of `tol scale` an even share of the squares left, of a fifth at least, at most twice the even one."""
    graph = stack([*WAVES[:5], summed()], drawn(4, 3), drawn(4, 3, seed=20))
    tol, count = 1e-2, 6
    result = explained(graph, Accuracy(tol))
    scale, left = float(graph.variables["score"].step.abs()), 1.0
    for number in reversed(range(count)):
        if number < count - 1:
            scale = max(scale, float(result.by_depth[0, number + 1].abs().sum()))
        average, allowance = result.averages[number], float(result.allowances[number])
        assert average is not None
        wanted = tol * scale * min(2 / count**0.5, (max(left, 0.2) / (number + 1)) ** 0.5)
        assert allowance == pytest.approx(wanted)
        assert float(average.error) <= allowance
        left -= (float(average.error) / (tol * scale)) ** 2


def test_pinned_points_are_those_of_every_segment() -> None:
    graph = stack([torch.exp, summed(2)], drawn(4, 3), drawn(4, 3, seed=1))
    for points in (3, 7, 31):
        averages = explained(graph, Accuracy(points=points)).averages
        assert [int(average.points) for average in averages if average] == [points, points]


def test_the_chain_of_a_row_is_that_row() -> None:
    """Two scores of one input: each row is the chain of its own score."""
    real, reference = drawn(4, 3), drawn(4, 3, seed=1)
    single = [lambda h: h.exp().sum((1, 2))[:, None], lambda h: h.sin().sum((1, 2))[:, None]]
    joint = stack([torch.tanh, lambda h: torch.cat([f(h) for f in single], 1)], real, reference)
    both = explained(joint, Accuracy(1e-8))
    for row, function in enumerate(single):
        alone = explained(stack([torch.tanh, function], real, reference), Accuracy(1e-8))
        torch.testing.assert_close(
            both.only(torch.tensor([row])).by_depth, alone.by_depth, atol=1e-8, rtol=1e-7
        )
        assert both.only(torch.tensor([row])).by_depth.equal(both.by_depth[row : row + 1])
        assert both.only(torch.tensor([row])).averages[0].error.equal(both.averages[0].error[row : row + 1])  # type: ignore[union-attr]


def test_errors_sum_to_no_less_than_what_the_sum_of_relevance_is_off() -> None:
    """Relevance sums to 1 where the change is 5, and to -2 where it is -2.5, which errors of 1 hold."""
    relevance = torch.tensor([[3.0, -2.0, 0.0], [0.0, -2.0, 0.0]]).double()
    errors = torch.tensor([[0.25, 0.25, 0.5], [0.5, 0.5, 0.0]]).double()
    held = no_less_than_missing(errors, relevance, torch.tensor([5.0, -2.5]).double())
    torch.testing.assert_close(held[0], torch.tensor([0.25 + 3 * 0.6, 0.25 + 3 * 0.4, 0.5]).double())
    torch.testing.assert_close(held[1], errors[1])


def test_a_jump_that_is_not_found_is_in_the_errors_and_other_segments_take_no_more_points_for_it() -> None:
    """The step of 2 lies between the runs of one token: another pass with less allowed could not mend it."""
    real, reference = torch.full((3, 1), 0.9).double(), torch.full((3, 1), 0.2).double()
    real[2] = 0.25
    jump = [torch.exp, lambda h: h + 2 * (h > 1.7), summed()]
    smooth = [torch.exp, lambda h: h + 0 * h, summed()]
    passes: list[int] = []
    graph = stack(jump, real, reference)
    accuracy = Accuracy(1e-3, max_points=31)
    result = chain(
        graph, graph.variables["score"].step, accuracy, nn.Module(), lambda done, _: passes.append(done)
    )
    assert passes == [0, 1, 2, 3]
    gap = float(result.by_depth[0, 0].sum() - graph.variables["score"].step)
    assert gap == pytest.approx(-4, abs=1e-4)
    torch.testing.assert_close(result.error[0], torch.tensor([2.0, 2.0, 0.0]).double(), atol=5e-3, rtol=0)
    plain = explained(stack(smooth, real, reference), accuracy)
    assert [int(each.points) for each in (result.averages[0], plain.averages[0])] == [7, 7]
