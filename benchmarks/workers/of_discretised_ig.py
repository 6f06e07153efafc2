"""Discretised integrated gradients: `python benchmarks/workers/of_discretised_ig.py FOLDER WEIGHTS METHOD`.

The authors' code is for classifiers on BERT and DistilBERT; these are a few lines by its strategy and its
defaults. A path goes near real words from the question's neutral token to each token (`discretised_path.py`),
and relevance is the sum of the gradient at each point times the way to the next one.
"""

from typing import Any, NamedTuple

import torch
import transformers
import worker
from discretised_path import NEIGHBOURS, STEPS, discretised_path
from torch import Tensor
from worker import Rival

from ligflow import __version__
from question_file import Question

SOURCE = "Sanyal and Ren 2021, https://github.com/INK-USC/DIG"
_BATCH = 8  # points that go through the model together


class Worded(NamedTuple):
    """A model, and the embeddings of all its words as it takes them: times their factor, where it has one."""

    model: Any
    table: Tensor


def worded(model: Any) -> Worded:
    words = range(model.get_input_embeddings().weight.shape[0])
    return Worded(model, worker.embeddings(model, words)[0])


def discretised_integrated_gradients(by: Worded, question: Question) -> Tensor:
    own, start = torch.tensor(question.ids), torch.tensor(worker.reference(question))
    points = discretised_path(by.table, own, start)
    score = worker.score(by.model, question)
    relevance = torch.zeros(len(own), dtype=points.dtype)
    for some, ways in zip(points[:-1].split(_BATCH), points.diff(dim=0).split(_BATCH), strict=True):
        embedded = some.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(score(embedded).sum(), embedded)
        relevance += (gradient * ways).sum((0, -1))
    return relevance


_SETTINGS = (
    f"strategy greedy, {STEPS} steps, {NEIGHBOURS} neighbours by Euclidean distance, no points between (the "
    "authors' defaults), neighbours found anew for each question; from neutral, of the target's "
    f"log-probability (cosine for an encoder); transformers {transformers.__version__}"
)
RIVALS = {"discretised-ig": Rival(discretised_integrated_gradients, _SETTINGS, SOURCE, worded)}

if __name__ == "__main__":
    worker.work(RIVALS, "ligflow (benchmarks)", __version__)
