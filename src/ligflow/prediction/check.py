"""The strongest words and heads replaced for real, the true change of the score beside their relevance.

Relevance says what the change between two runs is made of. What removing one part from the real run does, or
putting one into the reference run, is another question, which this answers by running the model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from ligflow.devices.precision import exact_mode
from ligflow.errors import LigflowError, LigflowWarning, warn
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import taken_by
from ligflow.layer.interface import IMPLEMENTATION, Captured, attention_action, plain
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.prediction.graph import implementation_of
from ligflow.prediction.held import Held, held_at
from ligflow.prediction.question import Question
from ligflow.prediction.recorded import recorded_layers
from ligflow.prediction.references import Reference
from ligflow.prediction.two_runs import in_order, run_noting
from ligflow.prediction_settings import PredictionSettings
from ligflow.results.prediction_data import PredictionData


@dataclass(frozen=True)
class Replacement:
    """One token or head, replaced in a run by what it is in the other run.

    `removed` is what the score loses where the part of the real run becomes that of the reference, `added`
    what it gains where the part of the reference run becomes the real one; in units of the score.
    """

    name: str
    layer: int | None
    head: int | None
    position: int | None
    relevance: float
    removed: float
    added: float

    @property
    def mean(self) -> float:
        """`(removed + added) / 2`: what relevance, which speaks of the whole way, is nearest to."""
        return (self.removed + self.added) / 2


@dataclass(frozen=True, eq=False)
class Asked:
    """What an explanation is of: with it the model can be run again."""

    whole: PreparedModel
    question: Question
    reference: Reference
    row: int
    settings: PredictionSettings


def check(prediction: PredictionData, subject: Asked | None, tokens: int, heads: int) -> list[Replacement]:
    """The strongest tokens and heads of an explanation, each replaced in both runs.

    Experts that the explanation held are held here. Warns where heads cannot be replaced. Raises LigflowError
    where the model is not at hand, as for an explanation from a file, and where attention was held.
    """
    if subject is None:
        raise LigflowError(
            "This explanation comes from a file or is a mean, so there is no model to run; explain the input "
            "again: ex.explain_prediction(...).check()."
        )
    for name, count in (("tokens", tokens), ("heads", heads)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise LigflowError(f"{name} is {count!r}; give a whole number from 0.")
    settings = prediction.meta.get("settings", {})
    if settings.get("attention") == "held":
        raise LigflowError(
            "Words and heads are replaced in runs whose attention moves, and here it was held; explain "
            "again with attention='moved' to check it."
        )
    with exact_mode(subject.whole.home):
        trial = _Trial.of(subject, settings.get("experts") == "held")
        with trial.running():
            words = [trial.token(prediction, position) for position in _strongest_tokens(prediction, tokens)]
            known = prediction.heads if trial.replaces_heads else {}
            if heads and prediction.heads and not known:
                warn(
                    "Heads are left out of the check: some layers of this model have an attention that is "
                    "run as it is, in which no head can be replaced.",
                    LigflowWarning,
                )
            return words + [trial.head(prediction, *place) for place in _strongest_heads(known, heads)]


def _strongest_tokens(prediction: PredictionData, count: int) -> list[int]:
    order = prediction.relevance.abs().argsort(descending=True).tolist()
    return [position for position in order if not prediction.kept[position]][:count]


def _strongest_heads(heads: Any, count: int) -> list[tuple[int, int]]:
    sizes = [
        (abs(float(head.sum())), layer, number)
        for layer, of_layer in heads.items()
        for number, head in enumerate(of_layer)
    ]
    return [(layer, number) for _, layer, number in sorted(sizes, reverse=True)[:count]]


@dataclass(frozen=True, eq=False)
class _Trial:
    """A model with its two runs, to be run again with parts of one in the other."""

    subject: Asked
    model: PreTrainedModel
    inputs: dict[str, Tensor]
    layers: list[Layer]
    embeddings: tuple[Tensor, Tensor]  # of the real run and of the reference
    held: Held

    @classmethod
    def of(cls, subject: Asked, experts: bool = False) -> "_Trial":
        copy = subject.whole.now()
        model = cast(PreTrainedModel, copy.placement.model)
        inputs = taken_by(model, dict(subject.question.inputs))
        every = recorded_layers(copy, inputs, subject.question.positions)
        recorded, run = every.layers, every.run
        modules = [layer.module for layer in recorded]
        with copy.placement.running(), prepared(model, implementation_of(recorded)):
            run = run or run_noting(model, inputs, modules, None, subject.question.positions)
        layers = in_order(recorded, [call.module for call in run.calls])
        ends = (run.embeddings, subject.reference.embeddings.to(run.embeddings))
        with copy.placement.running():
            held = held_at(model, layers, experts, False)
        return cls(subject, model, inputs, layers, ends, held)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The model ready to be run."""
        placement = self.subject.whole.now().placement
        modules = [layer.module for layer in self.layers]
        ready = prepared(self.model, implementation_of(self.layers))
        with placement.running(), ready, self.held.through(modules):
            yield

    @property
    def replaces_heads(self) -> bool:
        """Whether the attention of all layers is one that heads can be replaced in."""
        return all(layer.implementation == IMPLEMENTATION for layer in self.layers)

    def score(self, embeddings: Tensor) -> float:
        """The score of a run with these embeddings."""
        question = self.subject.question
        run = run_noting(self.model, self.inputs, (), embeddings, question.positions)
        with torch.no_grad():
            return float(question.score(run.outputs)[0, self.subject.row])

    def token(self, prediction: PredictionData, position: int) -> Replacement:
        """One token replaced in both runs; tokens that a model adds stand before the embedded ones."""
        real, reference = self.embeddings
        at = position - (len(prediction.tokens) - real.shape[1] if not self._decodes else 0)
        mixed = []
        for own, other in ((real, reference), (reference, real)):
            changed = own.clone()
            changed[:, at] = other[:, at]
            mixed.append(self.score(changed))
        return Replacement(
            prediction.tokens[position], None, None, position, float(prediction.relevance[position]),
            prediction.value - mixed[0], mixed[1] - prediction.reference_value,
        )  # fmt: skip

    @property
    def _decodes(self) -> bool:
        return self.subject.question.decoder_tokens is not None

    def head(self, prediction: PredictionData, layer: int, head: int) -> Replacement:
        """One head replaced at all tokens in both runs."""
        real, reference = self.embeddings
        outputs = [self._attended(layer, embeddings) for embeddings in (real, reference)]
        changed = []
        for embeddings, other in ((real, outputs[1]), (reference, outputs[0])):
            with attention_action(self._replacing(layer, head, other)):
                changed.append(self.score(embeddings))
        return Replacement(
            f"layer {layer}, head {head}", layer, head, None, float(prediction.heads[layer][head].sum()),
            prediction.value - changed[0], changed[1] - prediction.reference_value,
        )  # fmt: skip

    def _attended(self, layer: int, embeddings: Tensor) -> Float[Tensor, "1 head token value_dim"]:
        """What the heads of a layer give in a run."""
        attended: list[Tensor] = []
        here = self._at_layer(layer)

        def note(captured: Captured) -> Tensor:
            u = plain(captured)
            if here(captured):
                attended.append(u)
            return u

        with attention_action(note):
            self.score(embeddings)
        return attended[0]

    def _replacing(self, layer: int, head: int, other: Tensor) -> Any:
        here = self._at_layer(layer)

        def action(captured: Captured) -> Tensor:
            u = plain(captured)
            if here(captured):
                u[:, head] = other[:, head]
            return u

        return action

    def _at_layer(self, layer: int) -> Any:
        """Whether an attention call is the first one of a layer's call, asked once for each in turn."""
        module = self.layers[layer].module
        before = sum(each.module is module for each in self.layers[:layer])
        parts, counts = {*module.modules()}, dict[Any, int]()

        def here(captured: Captured) -> bool:
            if captured.module not in parts:
                return False
            counts[captured.module] = counts.get(captured.module, 0) + 1
            first = next(iter(counts))  # a second attention is to an encoder
            return captured.module is first and counts[captured.module] == before + 1

        return here
