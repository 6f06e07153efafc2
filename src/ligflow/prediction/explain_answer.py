"""Why a model wrote an answer: one chain whose scores are the answer's tokens."""

from typing import Unpack

from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.prediction.answer import Answer
from ligflow.prediction.assembly import warn_unmet
from ligflow.prediction.explain import explain_rows
from ligflow.prediction.own_answer import answer_question
from ligflow.prediction.prediction import Prediction
from ligflow.prediction.references import reference as references_of
from ligflow.prediction_settings import AnswerOptions, ask
from ligflow.progress import Progress


def explain_answer(
    whole: PreparedModel,
    prompt: Inputs,
    answer: str | None = None,
    *,
    max_new_tokens: int | None = None,
    progress: Progress | None = None,
    **options: Unpack[AnswerOptions],
) -> Answer:
    """What each token of a prompt contributes to each token of an answer (`Explainer.explain_answer`)."""
    settings = ask(AnswerOptions, options)
    about = settings.about(answer)
    with whole.steady():
        asked = answer_question(whole, prompt, answer, max_new_tokens, settings.truncate)
        references = references_of(whole, asked, settings.reference, settings.on)
        by_reference = [explain_rows(whole, asked, each, settings, about, progress) for each in references]
    several = len(references) > 1
    rows = [Prediction.mean(row) if several else row[0] for row in zip(*by_reference, strict=True)]
    warn_unmet(max(rows, key=lambda row: float(row.error.sum()) / row.scale))
    return Answer(tuple(rows))
