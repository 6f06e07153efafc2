"""A rival's worker gives what its package publishes: the toy of Captum's first page, and its numbers.

The page (https://captum.ai, "Getting started") prints four decimals for a network of two linear layers with a
ReLU between, two inputs of three features, and a baseline of zeros. Here each feature is a token whose
embedding has one dimension, so that the benchmark's own worker is what is asked.
"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark_scripts import BENCHMARKS, loaded

PUBLISHED = ([-0.5922, -1.5497, -1.0067], [0.0, -0.2219, -5.1991])  # integrated gradients and DeepLIFT alike
NEUTRAL = 6

pytestmark = [
    pytest.mark.usefixtures("no_shape_checks"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks:UserWarning"),
]


class Toy(nn.Module):
    """The published network, which reads tokens; its vocabulary is the six published features, and zero."""

    def __init__(self) -> None:
        super().__init__()
        self.lower, self.relu, self.upper = nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 2)
        self.lower.weight.data = torch.arange(9.0).view(3, 3) - 4
        self.upper.weight.data, self.upper.bias.data = torch.arange(6.0).view(2, 3) - 3, torch.ones(2)
        torch.manual_seed(123)
        self.words = nn.Embedding(7, 1, _weight=torch.cat([torch.rand(2, 3).view(6, 1), torch.zeros(1, 1)]))

    def get_input_embeddings(self) -> nn.Module:
        return self.words

    def forward(self, inputs_embeds: Tensor, **_: Any) -> Any:
        logits = self.upper(self.relu(self.lower(inputs_embeds[..., 0])))
        return SimpleNamespace(logits=logits[:, None])


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift"])
def test_captum_gives_what_its_first_page_prints(
    monkeypatch: pytest.MonkeyPatch, method: str, row: int
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS / "workers"))
    names = ("of_captum", "worker", "question_file", "call_cost")
    with loaded(names, monkeypatch) as scripts:
        captum, worker = scripts["of_captum"], scripts["worker"]
        monkeypatch.setattr(worker, "score", worker.logit)  # the page explains an output as it is
        ids = [3 * row, 3 * row + 1, 3 * row + 2]
        question = captum.Question("toy-1", "toy", ids, ["a", "b", "c"], 0, NEUTRAL, [False] * 3)
        relevance = getattr(captum, method)(Toy().eval(), question)
    assert relevance.flatten().tolist() == pytest.approx(PUBLISHED[row], abs=5.1e-5)
