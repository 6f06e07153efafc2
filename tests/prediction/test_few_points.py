"""Points of few tokens beside points of all."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedModel

from ligflow.explainer.prepared_model import PreparedModel
from ligflow.prediction.answer_rows import source_by_row
from ligflow.prediction.attention_switch import AttentionSwitch
from ligflow.prediction.few_points import FewPoints
from ligflow.prediction.graph import Built, graph_of, implementation_of
from ligflow.prediction.matrix_points import MatrixPoints, points_of
from ligflow.prediction.path_points import PlainPoints
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.scores import tokens_contrast, tokens_score
from ligflow.prediction.segment import FewTokens, Segment
from ligflow.prediction.together import graph_of_all
from prediction.test_vocabulary_head import asked
from prediction.tiny import gpt2, ids, llama, runs_of

SCORES = {
    "one": ((4,), tokens_score([7], "logprob")),
    "several rows": ((1, 3), tokens_score([7, 9], "logprob", rows=True)),
    "contrast": ((2, 4), tokens_contrast([1], [7], [9])),
}
NODES = torch.tensor([0.5, 0.1127, 0.8873], dtype=torch.float64)  # of the rule of three points


@pytest.mark.parametrize("make", [gpt2, llama])
@pytest.mark.parametrize("case", SCORES)
def test_few_tokens_have_the_numbers_of_the_whole_segment(
    make: Callable[[], PreTrainedModel], case: str
) -> None:
    runs = asked(runs_of(make(), ids())[0], *SCORES[case])
    with AttentionSwitch(runs.model) as attention:
        attention.to(implementation_of(runs.layers))
        _compare(graph_of(runs))


def _compare(built: Built) -> None:
    head, (name,) = built.graph.segments[-1], built.graph.segments[-1].sources
    sources = {name: built.graph.variables[name]}
    by_row = {name: source_by_row(head, built.graph.variables)[name]}
    rows = len(built.scores[0])
    assert by_row[name].rows == (rows > 1)
    numbers = torch.randn(rows, 1, dtype=torch.float64)
    above, carried = {"score": numbers[:, 0].diag()}, {"score": torch.eye(rows, dtype=torch.float64)}
    every = PlainPoints(replace(head, few=None), sources, above)
    few = points_of(head, by_row, {"score": numbers})
    assert isinstance(few, FewPoints)
    assert isinstance(few._points, MatrixPoints)
    ours = few.with_carried(NODES[:1], {"score": torch.ones(rows, 1, dtype=torch.float64)})
    theirs = every.with_carried(NODES[:1], carried)
    torch.testing.assert_close(ours[name], theirs[name], atol=1e-9, rtol=1e-9)
    few.at(NODES[1:])
    every.at(NODES[1:])
    torch.testing.assert_close(few.by_token(1, 1.0), every.by_token(1, 1.0), atol=1e-9, rtol=1e-9)
    for ours, theirs in zip(few.cotangents([1, 0], 0.5), every.cotangents([1, 0], 0.5), strict=True):
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-9, rtol=1e-9)


def test_examples_read_tokens_of_their_own() -> None:
    model = PreparedModel(llama())
    built = [
        graph_of(asked(runs_of(model, tokens)[0], (place,), tokens_score([answer], "logprob")))
        for tokens, place, answer in ((ids(), 4, 7), (torch.tensor([[5, 9, 13, 8, 3]]), 2, 11))
    ]
    graph = graph_of_all(built)
    head, above = graph.segments[-1], {"score": torch.ones(2, 1, dtype=torch.float64)}
    assert head.apart
    points = points_of(head, {name: graph.variables[name] for name in head.sources}, above)
    points.at(NODES)
    second = points.only(torch.tensor([False, True])).only(torch.tensor([0])).fresh()
    second.at(NODES)
    for row, one in enumerate(built):
        own = one.graph.segments[-1]
        alone = PlainPoints(
            replace(own, few=None), {name: one.graph.variables[name] for name in own.sources},
            {"score": torch.ones(1, 1, dtype=torch.float64)},
        )  # fmt: skip
        alone.at(NODES)
        of_row = [points.by_token(1, 1.0)[row], *([second.by_token(1, 1.0)[0]] if row else [])]
        for ours in of_row:
            torch.testing.assert_close(ours, alone.by_token(1, 1.0)[0], atol=1e-9, rtol=1e-9)


def test_numbers_of_few_tokens_stand_among_zeros() -> None:
    few = FewTokens(torch.tensor([[3, 1], [0, 2]]), torch.nn.Identity(), lambda x: x, ())
    among = few.among(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 4)
    assert among.tolist() == [[0.0, 2.0, 0.0, 1.0], [3.0, 0.0, 4.0, 0.0]]
    whole = Variable(torch.arange(8.0).reshape(2, 4, 1), torch.zeros(2, 4, 1), rows=True)
    assert few.variable(whole).real[..., 0].tolist() == [[3.0, 1.0], [4.0, 6.0]]
    assert isinstance(few.segment(Segment("s", None, "between", ("x",), ("y",), dict)), Segment)
