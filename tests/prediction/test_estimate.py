"""What a prediction's explanation will take: from some of its segments, with a clock that counts looks."""

import itertools

import pytest

from asked_models import gpt2, llama
from ligflow import LigflowError
from ligflow.prediction.chain import Accuracy, chain
from ligflow.prediction.estimate import _measured, estimate_prediction
from ligflow.prediction.explain import explain_prediction
from ligflow.prediction.graph import graph_of
from ligflow.prediction.references import Random
from prediction.tiny import ids, runs_of
from prediction.tiny import llama as tiny_llama

PROMPT = "The capital of France is"


@pytest.fixture
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look is a second later, so that a segment takes one, and each part of the rest."""
    count = itertools.count()
    monkeypatch.setattr("ligflow.prediction.estimate.perf_counter", lambda: float(next(count)))


@pytest.mark.usefixtures("_clock")
def test_seconds_are_two_runs_the_segments_the_rest_and_edges_of_layers() -> None:
    none = estimate_prediction(gpt2(), PROMPT, edges=())
    assert none.units == "segments"
    assert none.seconds == 1 + none.total + 1 + 0
    assert none.preparing == 0  # both times took a second
    layers = len(explain_prediction(gpt2(), PROMPT, edges="all").stored_edges)
    assert estimate_prediction(gpt2(), PROMPT, edges="all").seconds == none.seconds + layers
    two = estimate_prediction(gpt2(), PROMPT, edges=(), reference=Random(count=2))
    assert two.seconds == 2 * none.seconds


def test_an_estimate_changes_no_result_and_refuses_a_model_as_one_segment() -> None:
    before = explain_prediction(llama(), PROMPT)
    estimate_prediction(llama(), PROMPT)
    assert explain_prediction(llama(), PROMPT).relevance.equal(before.relevance)
    with pytest.raises(LigflowError, match="With cut='model' the model is one segment"):
        estimate_prediction(llama(), PROMPT, cut="model")


def test_the_segments_that_are_measured_are_of_whole_layers_and_of_all_depths() -> None:
    assert _measured(91, "modules") == [*range(12, 18), *range(42, 48), *range(72, 78)]
    assert _measured(31, "layer") == [2, 7, 12, 17, 22, 27]
    assert _measured(4, "layer") == [0, 1, 2]


def test_segments_apart_take_what_they_need_and_others_the_fewest_points() -> None:
    runs, model = runs_of(tiny_llama(12), ids())
    built = graph_of(runs)
    change = (built.scores[0] - built.scores[1]).double()
    measured = _measured(len(built.graph.segments), "modules")
    assert measured == [12, 13, 14, 15, 16, 17]
    result = chain(built.graph, change, Accuracy(apart=frozenset(measured)), model)
    points = [0 if average is None else int(average.points.max()) for average in result.averages]
    assert {points[number] for number in range(len(points)) if number not in measured} <= {0, 1, 3}
    assert max(points[number] for number in measured) > 3
