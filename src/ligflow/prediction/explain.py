"""Why a model says what it says: from a question and a reference to a prediction's explanation."""

from typing import Any, Unpack

from ligflow.devices.precision import exact_mode
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.prediction.assembly import assemble, warn_unmet
from ligflow.prediction.chain import chain
from ligflow.prediction.prediction import Prediction
from ligflow.prediction.question import Question
from ligflow.prediction.question_graph import accuracy_of, taken_apart
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
