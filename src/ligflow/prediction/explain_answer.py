"""Why a model wrote an answer: one chain whose scores are the answer's tokens."""

from collections.abc import Collection
from typing import Any

from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.prediction.answer import Answer
from ligflow.prediction.assembly import warn_unmet
from ligflow.prediction.chain_settings import ChainSettings
from ligflow.prediction.explain import explain_rows
from ligflow.prediction.own_answer import answer_question
from ligflow.prediction.prediction import Prediction
from ligflow.prediction.references import reference as references_of
from ligflow.progress import Progress


def explain_answer(
    whole: PreparedModel,
    prompt: Inputs,
    answer: str | None = None,
    *,
    max_new_tokens: int | None = None,
    reference: Any = "neutral",
    on: Any = None,
    cut: str = "modules",
    attention: str = "moved",
    experts: str = "routed",
    edges: Collection[int] | str = (),
    parts: bool = False,
    tol: float = 1e-3,
    max_points: int = 511,
    points: int | None = None,
    truncate: bool = False,
    progress: Progress | None = None,
) -> Answer:
    """What each token of a prompt contributes to each token of an answer (`Explainer.explain_answer`)."""
    settings = ChainSettings(cut, attention, experts, edges, tol, max_points, points, parts)
    about = {"answer": answer, "contrast": None, "position": None, "on": on, "score": "logprob"}
    with whole.steady():
        asked = answer_question(whole, prompt, answer, max_new_tokens, truncate)
        references = references_of(whole, asked, reference, on)
        by_reference = [explain_rows(whole, asked, each, settings, about, progress) for each in references]
    several = len(references) > 1
    rows = [Prediction.mean(row) if several else row[0] for row in zip(*by_reference, strict=True)]
    warn_unmet(max(rows, key=lambda row: float(row.error.sum()) / row.scale))
    return Answer(tuple(rows))
