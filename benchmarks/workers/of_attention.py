"""What reads attention and its vectors: `python benchmarks/workers/of_attention.py FOLDER WEIGHTS METHOD`.

None of these has code that runs on today's libraries; each is a few lines here, by its paper's formula, and
a test holds it against brute force. Needs ligflow. A decoder is read at the row of its last token, an encoder
at the mean of its rows, as its sentence embedding is.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import transformers
import worker
from attention_flow import attention_flow
from torch import Tensor
from worker import Rival

from ligflow import Explainer, __version__
from ligflow.devices.precision import exact_mode
from ligflow.evaluation.norm_based_attention import norm_based, with_residual_and_norm
from ligflow.evaluation.rollout import rollout, with_residual
from ligflow.evaluation.vector_decompositions import alti, globenc
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.routes.workspace import Selection
from question_file import Question

Map = Callable[[Layer, Selection], Tensor]


def attentions(model: Any, question: Question) -> Tensor:
    """Attention weights, the mean of heads, `[layer, target, source]`."""
    with torch.no_grad():
        out = model(input_ids=torch.tensor([question.ids]), output_attentions=True)
    return torch.stack([layer[0].mean(0) for layer in out.attentions])


def read(rows: Tensor, question: Question) -> Tensor:
    """Of `[*, target, source]` the row of what answers: where a decoder says it, the mean of an encoder's."""
    answering = rows[..., -len(question.said) :, :] if question.other is None else rows
    return answering.mean(-2)


def mean_attention(model: Any, question: Question) -> Tensor:
    return read(attentions(model, question), question).mean(0)


def last_attention(model: Any, question: Question) -> Tensor:
    return read(attentions(model, question)[-1], question)


def by_rollout(model: Any, question: Question) -> Tensor:
    return read(rollout(with_residual(attentions(model, question))), question)


def by_flow(model: Any, question: Question) -> Tensor:
    maps = with_residual(attentions(model, question))
    targets = [maps.shape[-1] - 1] if question.other is None else range(maps.shape[-1])
    return torch.stack([attention_flow(maps, target) for target in targets]).mean(0)


def layer_maps(explainer: Explainer, question: Question, of_layer: Map) -> Tensor:
    """A method's map of every layer, `[layer, target, source]`."""
    tokens = torch.arange(len(question.ids))
    maps = []
    with exact_mode(explainer.model.device):
        for layer in explainer.prepared.record({"input_ids": torch.tensor([question.ids])}):
            with prepared(layer.module, layer.implementation), torch.no_grad():
                maps.append(of_layer(layer, Selection(tokens, tokens)))
    return torch.stack(maps)


def rollout_of(of_layer: Map, residual: bool, explainer: Explainer, question: Question) -> Tensor:
    """Rollout of a method's maps, each row as shares; `residual` adds the identity, for maps that lack it."""
    maps = layer_maps(explainer, question, of_layer)
    maps = maps / maps.sum(-1, keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)
    return read(rollout(with_residual(maps) if residual else maps), question)


def drawn(_model: Any, question: Question) -> list[float]:
    """Numbers of a normal distribution, the same for a question whenever it is asked."""
    generator = random.Random(question.name)
    return [generator.gauss(0, 1) for _ in question.ids]


def rival(relevance: Callable[[Any, Question], Any], settings: str, source: str) -> Rival:
    return Rival(relevance, f"{settings}; {_ROW}", source, attention="eager")


def of_vectors(of_layer: Map, residual: bool, settings: str, source: str) -> Rival:
    settings = f"{settings}; rows as shares; {_ROW}"
    return Rival(partial(rollout_of, of_layer, residual), settings, source, Explainer)


_ROW = f"row of the last token, mean of rows for an encoder; transformers {transformers.__version__}"
_ABNAR = "Abnar and Zuidema 2020"
RIVALS = {
    "mean-attention": rival(mean_attention, "mean of heads and layers", "attention weights"),
    "last-attention": rival(last_attention, "last layer, mean of heads", "attention weights"),
    "rollout": rival(by_rollout, "product of layers of (mean of heads + 1) / 2", _ABNAR),
    "flow": rival(by_flow, "largest flow through (mean of heads + 1) / 2 as capacities, by scipy", _ABNAR),
    "value-weighted-rollout": of_vectors(
        norm_based, True, "rollout of the sizes of what each source writes, + 1, halved",
        "Kobayashi et al. 2020; rollout of Abnar and Zuidema 2020",
    ),
    "norm-rollout": of_vectors(
        with_residual_and_norm, False, "rollout of sizes with residual and norm in the vectors",
        "Kobayashi et al. 2021; rollout of Abnar and Zuidema 2020",
    ),
    "globenc-rollout": of_vectors(
        globenc, False, "rollout of sizes with residuals and both norms in the vectors",
        "Modarressi et al. 2022",
    ),
    "alti-rollout": of_vectors(alti, False, "rollout of ALTI's contributions", "Ferrando et al. 2022"),
    "random": Rival(drawn, "a normal distribution, seeded by the question's name", "control"),
}  # fmt: skip

if __name__ == "__main__":
    worker.work(RIVALS, "ligflow (benchmarks)", __version__)
