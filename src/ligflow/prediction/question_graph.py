"""What a question is taken apart into: the two runs of the model, and the graph of segments between them."""

from typing import cast

from transformers import PreTrainedModel

from ligflow.explainer.current_copy import ModelCopy
from ligflow.inputs.checks import taken_by
from ligflow.prediction.chain import Accuracy
from ligflow.prediction.graph import Built, Runs, both_runs, graph_of
from ligflow.prediction.inner_states import recognise_forms
from ligflow.prediction.kept_edges import check_layers, check_room
from ligflow.prediction.question import Question
from ligflow.prediction.recorded import recorded_layers
from ligflow.prediction.references import Reference
from ligflow.prediction_settings import PredictionSettings


def taken_apart(
    copy: ModelCopy,
    subject: Question,
    instead: Reference,
    settings: PredictionSettings,
    products: bool = True,
) -> tuple[Runs, Built]:
    """The two runs of a model, and the segments between them, with `products` of the second run."""
    model = cast(PreTrainedModel, copy.placement.model)
    inputs = taken_by(model, dict(subject.inputs))
    recorded = recorded_layers(copy, inputs, subject.positions)
    for numbers in (settings.edges, settings.neurons):
        check_layers(numbers, len(recorded.layers))
    if settings.cut == "modules":  # before the runs, which note what stands inside layers of known form
        recognise_forms(model, recorded.layers)
    runs = both_runs(
        model, inputs, recorded.layers, instead.embeddings, subject.positions, subject.score,
        recorded.decoder, settings.experts == "held", settings.attention == "held", recorded.run, products,
    )  # fmt: skip
    built = graph_of(runs, settings.cut)
    check_room(built, settings.edges, settings.parts, len(recorded.layers))
    return runs, built


def accuracy_of(settings: PredictionSettings) -> Accuracy:
    """How exact the chain is to be."""
    return Accuracy(settings.tol, settings.max_points, settings.points)
