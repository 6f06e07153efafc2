"""Why a model says what it says: from a question and a reference to a prediction's explanation."""

from typing import Any, Unpack, cast

from transformers import PreTrainedModel

from ligflow.devices.precision import exact_mode
from ligflow.explainer.current_copy import ModelCopy
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs, taken_by
from ligflow.prediction.assembly import assemble, warn_unmet
from ligflow.prediction.chain import Accuracy, chain
from ligflow.prediction.graph import Built, Runs, both_runs, graph_of
from ligflow.prediction.kept_edges import check_layers
from ligflow.prediction.prediction import Prediction
from ligflow.prediction.question import Question
from ligflow.prediction.recorded import recorded_layers
from ligflow.prediction.references import Reference
from ligflow.prediction.references import reference as references_of
from ligflow.prediction.targets import one_score, question
from ligflow.prediction_settings import PredictionOptions, PredictionSettings, ask
from ligflow.progress import Progress, told


def explain_prediction(
    whole: PreparedModel,
    inputs: Inputs,
    answer: str | int | None = None,
    contrast: str | int | None = None,
    position: int | str | None = None,
    *,
    progress: Progress | None = None,
    **options: Unpack[PredictionOptions],
) -> Prediction:
    """What each token, head and layer contributes to what a model says (`Explainer.explain_prediction`)."""
    settings = ask(PredictionOptions, options)
    sought = answer, contrast, position
    about = settings.about(*sought)
    with whole.steady():
        subject = one_score(question(whole, inputs, *sought, settings.score, settings.truncate))
        references = references_of(whole, subject, settings.reference, settings.on)
        explained = [explain_rows(whole, subject, each, settings, about, progress)[0] for each in references]
    return warn_unmet(explained[0] if len(explained) == 1 else Prediction.mean(explained))


def explain_rows(
    whole: PreparedModel,
    subject: Question,
    instead: Reference,
    settings: PredictionSettings,
    about: dict[str, Any],
    progress: Progress | None = None,
) -> list[Prediction]:
    """One explanation for each row of a question, of one chain."""
    with exact_mode(whole.home):
        copy = whole.now()
        with copy.placement.running():
            runs, built = taken_apart(copy, subject, instead, settings)
            change = (built.scores[0] - built.scores[1]).double()
            with told(progress, "segments", f"{len(built.graph.segments)} segments") as report:
                result = chain(built.graph, change, accuracy_of(settings), runs.model, report)
            return [
                assemble(whole, subject, instead, settings, about, runs, built, result, row)
                for row in range(len(change))
            ]


def taken_apart(
    copy: ModelCopy, subject: Question, instead: Reference, settings: PredictionSettings
) -> tuple[Runs, Built]:
    """The two runs of a model, and the segments between them."""
    model = cast(PreTrainedModel, copy.placement.model)
    inputs = taken_by(model, dict(subject.inputs))
    recorded = recorded_layers(copy, inputs, subject.positions)
    for numbers in (settings.edges, settings.neurons):
        check_layers(numbers, len(recorded.layers))
    runs = both_runs(
        model, inputs, recorded.layers, instead.embeddings, subject.positions, subject.score,
        recorded.decoder, settings.experts == "held", settings.attention == "held", recorded.run,
    )  # fmt: skip
    return runs, graph_of(runs, settings.cut)


def accuracy_of(settings: PredictionSettings) -> Accuracy:
    """How exact the chain is to be."""
    return Accuracy(settings.tol, settings.max_points, settings.points)
