"""The vocabulary head at few tokens: when it is known that others do not matter."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ligflow.prediction.graph import Runs, graph_of
from ligflow.prediction.scores import OfLogits, own_score, tokens_score
from prediction.tiny import gpt2, ids, llama, runs_of


def asked(runs: Runs, positions: tuple[int, ...] | None, score) -> Runs:
    """The runs with a head that is read at some positions."""
    chosen = [*range(5)] if positions is None else list(positions)
    real, reference = (
        replace(run, outputs=type(run.outputs)(logits=run.outputs.logits[:, chosen]))
        for run in (runs.real, runs.reference)
    )
    return replace(runs, real=real, reference=reference, positions=positions, score=score)


@pytest.mark.parametrize("make", [gpt2, llama])
@pytest.mark.parametrize("positions", [(4,), (1, 3)])
def test_logits_of_few_tokens_are_those_of_the_model(make, positions: tuple[int, ...]) -> None:
    runs = asked(runs_of(make(), ids())[0], positions, tokens_score([7] * len(positions), "logprob"))
    few = graph_of(runs).graph.segments[-1].few
    assert few is not None
    assert few.places.tolist() == [list(positions)]
    vectors = torch.randn(3, len(positions), 16, dtype=torch.float64)
    model = runs.model
    last = model.model.norm if make is llama else model.transformer.ln_f
    torch.testing.assert_close(few.numbers(vectors), model.lm_head(last(vectors)))


@pytest.mark.parametrize("make", [gpt2, llama])
def test_rows_that_read_a_token_each_are_examples(make) -> None:
    runs = asked(runs_of(make(), ids())[0], (1, 3), tokens_score([7, 9], "logit", rows=True))
    graph = graph_of(runs).graph
    few = graph.segments[-1].few
    assert few is not None
    assert few.places.tolist() == [[1], [3]]
    vectors = torch.randn(4, 1, 16, dtype=torch.float64)  # two points of each row
    model = runs.model
    last = model.model.norm if make is llama else model.transformer.ln_f
    logits = model.lm_head(last(vectors))[:, 0]
    (name,), (image,) = graph.segments[-1].sources, graph.segments[-1].images
    given = few.segment(graph.segments[-1]).run({name: vectors})[image]
    torch.testing.assert_close(given[:, 0], logits[range(4), [7, 9, 7, 9]])
    assert graph.variables[image].real.tolist() == [
        [float(each)] for each in runs.score(runs.real.outputs)[0]
    ]
    second = graph.of_rows([1])
    assert second.variables[image].real.tolist() == graph.variables[image].real[1:].tolist()
    assert second.segments[-1].few.places.tolist() == [[3]]


@pytest.mark.parametrize(
    ("positions", "score"),
    [(None, tokens_score([7], "logit")), ((4,), own_score(lambda outputs: outputs.logits[:, -1, 7]))],
)
def test_scores_of_more_than_logits_at_positions_go_through_all_tokens(positions, score) -> None:
    assert graph_of(asked(runs_of(llama(), ids())[0], positions, score)).graph.segments[-1].few is None


class Smeared(nn.Module):
    """A norm after which tokens meet."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.norm(hidden)
        return normed + normed.mean(1, keepdim=True)


def test_a_head_in_which_tokens_meet_goes_through_all_tokens() -> None:
    model = llama()
    model.model.norm = Smeared(model.model.norm)
    runs = asked(runs_of(model, ids())[0], (4,), tokens_score([7], "logit"))
    assert isinstance(runs.score, OfLogits)
    assert graph_of(runs).graph.segments[-1].few is None
