"""Captum's methods: `python benchmarks/workers/of_captum.py FOLDER WEIGHTS METHOD [COUNT]`.

Each is called as its own interface wants it, on input embeddings or on token ids, with the question's
reference (the neutral token, kept tokens left) as the baseline.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
import transformers
import worker
from captum.attr import DeepLift, FeatureAblation, InputXGradient, IntegratedGradients
from torch import Tensor, nn
from worker import Rival

from question_file import Question

SOURCE = "Kokhlikyan et al. 2020, https://captum.ai"
STEPS = 24
_BATCH = 8  # points, or ablated texts, that go through the model together


class Scored(nn.Module):
    """The question's score as a module of input embeddings, which DeepLift asks for.

    Another text's embedding is made before DeepLift's hooks are there, which want gradients everywhere.
    """

    def __init__(self, model: Any, question: Question) -> None:
        super().__init__()
        self.model = model
        self.score = worker.score(model, question)

    def forward(self, embedded: Tensor) -> Tensor:
        return self.score(embedded)


def _ends(model: Any, question: Question) -> tuple[Tensor, Tensor]:
    return worker.embeddings(model, question.ids), worker.embeddings(model, worker.reference(question))


def integrated_gradients(model: Any, question: Question) -> Tensor:
    own, start = _ends(model, question)
    method = IntegratedGradients(worker.score(model, question))
    return method.attribute(own, start, n_steps=STEPS, internal_batch_size=_BATCH).sum(-1)


def gradient_times_input(model: Any, question: Question) -> Tensor:
    method = InputXGradient(worker.score(model, question))
    return method.attribute(worker.embeddings(model, question.ids).requires_grad_()).sum(-1)


def deeplift(model: Any, question: Question) -> Tensor:
    own, start = _ends(model, question)
    return DeepLift(Scored(model, question)).attribute(own.requires_grad_(), start).sum(-1)


def feature_ablation(model: Any, question: Question) -> Tensor:
    """Captum's leave-one-out: each token, on its own, becomes its reference."""
    own, start = torch.tensor([question.ids]), torch.tensor([worker.reference(question)])

    def by_ids(ids: Tensor) -> Tensor:
        return worker.score(model, question)(model.get_input_embeddings()(ids))

    with torch.no_grad():
        return FeatureAblation(by_ids).attribute(own, start, perturbations_per_eval=_BATCH)


def rival(relevance: Callable[[Any, Question], Tensor], what: str) -> Rival:
    settings = f"{what}; of the target's log-probability (cosine for an encoder)"
    return Rival(relevance, f"{settings}; transformers {transformers.__version__}", SOURCE)


RIVALS = {
    "integrated-gradients": rival(
        integrated_gradients, f"IntegratedGradients, {STEPS} steps, its default Gauss-Legendre, from neutral"
    ),
    "gradient-x-input": rival(gradient_times_input, "InputXGradient"),
    "deeplift": rival(
        deeplift,
        "DeepLift, from neutral; its rules cover none of these models' non-linearities (SiLU, GELU, a "
        "softmax that is no module), so that it is gradient x (input - neutral)",
    ),
    "leave-one-out-captum": rival(feature_ablation, "FeatureAblation of single tokens, to neutral"),
}

if __name__ == "__main__":
    worker.work(RIVALS, "captum", version("captum"))
