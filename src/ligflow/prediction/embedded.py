"""A question's tokens at the output of the model's input embeddings, where a reference is put in."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.errors import LigflowError
from ligflow.layer.arguments import first_tensor
from ligflow.prediction.question import Question
from ligflow.prediction.two_runs import input_embeddings

_CHUNK = 4096  # tokens of a vocabulary that are embedded at a time


@dataclass(frozen=True, eq=False)
class Embedded:
    """The input embeddings of a question, as their module gives them, and which tokens are kept.

    `kept` goes over all tokens of the question. Those of the `vectors` begin at `first` among them: before
    the patches of an image stands a token that the model adds, and behind an encoder's are a decoder's.
    """

    module: nn.Module
    inputs: Tensor
    vectors: Float[Tensor, "1 token width"]
    kept: Bool[Tensor, " all"]
    first: int = 0

    @property
    def own(self) -> Bool[Tensor, " token"]:
        """Which of the tokens that have a vector here are kept."""
        return self.kept[self.first : self.first + self.vectors.shape[1]]

    @property
    def size(self) -> int:
        """How many tokens have an embedding."""
        weight = getattr(self.module, "weight", None)
        return len(weight if isinstance(weight, Tensor) else next(self.module.parameters()))

    def of(self, inputs: Tensor) -> Float[Tensor, "1 token width"]:
        """The vectors of other ids or pixels, those of kept tokens as they are."""
        return self.instead(vectors_of(self.module, inputs.to(self.inputs)))

    def instead(self, vectors: Float[Tensor, "1 #token width"]) -> Float[Tensor, "1 token width"]:
        """Other vectors, those of kept tokens as they are."""
        kept = self.own[None, :, None].to(self.vectors.device)
        return torch.where(kept, self.vectors, vectors.to(self.vectors))

    def of_ids(self, ids: Int[Tensor, " token"]) -> Float[Tensor, "token width"]:
        """The embeddings of tokens."""
        return vectors_of(self.module, ids[None].to(self.inputs.device))[0]

    def mean(self) -> Float[Tensor, " width"]:
        """`1/V Σ_v e_v`: the mean embedding of the vocabulary."""
        parts = torch.arange(self.size).split(_CHUNK)
        return torch.stack([self.of_ids(ids).double().sum(0) for ids in parts]).sum(0) / self.size


def vectors_of(module: nn.Module, inputs: Tensor) -> Tensor:
    """What a module of embeddings gives for ids or pixels."""
    with torch.no_grad():
        output = module(inputs)
    # a hook (enable_input_require_grads) may ask for gradients all the same
    return (output if isinstance(output, Tensor) else first_tensor(output)).detach()


def embedded(model: PreTrainedModel, question: Question, kept: Bool[Tensor, " all"]) -> Embedded:
    """The question's tokens at the model's input embeddings (the model is borrowed meanwhile).

    Raises LigflowError where these give no vector for each token or patch.
    """
    module = input_embeddings(model)
    name = "pixel_values" if question.of_image else "input_ids"
    if name not in question.inputs:
        raise LigflowError(f"A reference is put on {name}, which these inputs do not hold.")
    inputs = question.inputs[name]
    vectors = vectors_of(module, inputs)
    before = len(question.tokens.labels) - vectors.shape[1] if vectors.ndim == 3 else -1
    if before < 0 or (before and name == "input_ids"):
        raise LigflowError(
            f"The input embeddings of {type(model).__name__} give {list(vectors.shape)}, no vector for each "
            f"of {len(question.tokens.labels)} tokens, so that no reference can be put in there."
        )
    return Embedded(module, inputs, vectors, kept, before)
