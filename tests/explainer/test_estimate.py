"""What an explanation will take: from a few layers, with the clock in the test's hands."""

from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest
import torch

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, LigflowError
from ligflow.explainer.estimate import Estimate, spread

BERT = ARCHITECTURES["bert"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run of the model takes 10 seconds, the second 3, the layers that are measured 6."""
    times: Iterator[float] = iter((0.0, 10.0, 13.0, 19.0))
    monkeypatch.setattr("ligflow.explainer.estimate.perf_counter", lambda: next(times))


@pytest.mark.parametrize(
    ("count", "numbers"),
    [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (6, [1, 3, 5]), (12, [2, 6, 10]), (30, [3, 9, 15, 21, 27])],
)
def test_the_layers_that_are_measured_are_the_middles_of_parts(count: int, numbers: list[int]) -> None:
    assert spread(count) == numbers


@pytest.mark.usefixtures("clock")
def test_seconds_are_the_run_and_as_many_layers() -> None:
    deep = replace(BERT, config=BERT.config | {"num_hidden_layers": 12})
    estimate = Explainer(build(deep)).estimate(example(BERT, 5))
    assert (estimate.measured, estimate.total) == (3, 12)
    assert estimate.seconds == 3 + 4 * 6  # three of twelve took 6 seconds
    assert estimate.preparing == 4 * (10 - 3)
    assert estimate.peak_bytes > psutil.Process().memory_info().rss / 2


@pytest.mark.usefixtures("clock")
def test_layers_that_are_asked_for_are_counted() -> None:
    estimate = Explainer(build(BERT)).estimate(example(BERT, 5), layers=1)
    assert (estimate.measured, estimate.total, estimate.seconds) == (1, 1, 9)


def test_an_estimate_changes_no_result_and_refuses_what_explain_refuses() -> None:
    explainer, inputs = Explainer(build(BERT)), example(BERT, 5)
    before = Explainer(build(BERT)).explain(inputs)
    explainer.estimate(inputs, routes="z2z", layer_baseline="zero")
    after = explainer.explain(inputs)
    assert all(torch.equal(tensor, after.tensors[name]) for name, tensor in before.tensors.items())
    with pytest.raises(LigflowError, match="layer 7"):
        explainer.estimate(inputs, layers=7)
    with pytest.raises(LigflowError, match="tol is 2"):
        explainer.estimate(inputs, tol=2)


def test_it_says_so_in_a_line() -> None:
    assert str(Estimate(130.0, 4.0, 2_100_000_000, 3, 12)) == (
        "about 2 min and 4 s once for the model, 2.1 GB at the most; 3 of 12 layers were measured"
    )
