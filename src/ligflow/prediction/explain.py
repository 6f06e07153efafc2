"""Why a model says what it says: from a question and a reference to a prediction's explanation."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, cast

from transformers import PreTrainedModel

from ligflow.devices.precision import exact_mode
from ligflow.errors import LigflowError
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs, taken_by
from ligflow.prediction.assembly import assemble
from ligflow.prediction.chain import Accuracy, chain
from ligflow.prediction.graph import both_runs, graph_of
from ligflow.prediction.prediction import Prediction
from ligflow.prediction.question import Question
from ligflow.prediction.recorded import recorded_layers
from ligflow.prediction.references import Reference
from ligflow.prediction.references import reference as references_of
from ligflow.prediction.targets import question
from ligflow.progress import Progress, told

CUTS = ("modules", "layer", "model")


@dataclass(frozen=True)
class ChainSettings:
    """How a prediction is taken apart, and how exactly; checked.

    `cut` is `modules`, `layer` or `model`; `edges` are the layers whose edges are kept.
    """

    cut: str = "modules"
    attention: str = "moved"
    experts: str = "routed"
    edges: tuple[int, ...] = ()
    tol: float = 1e-3
    max_points: int = 511
    points: int | None = None

    def __post_init__(self) -> None:
        _one_of("cut", self.cut, CUTS)
        _one_of("attention", self.attention, ("moved", "held"))
        _one_of("experts", self.experts, ("routed", "held"))
        if isinstance(self.tol, bool) or not isinstance(self.tol, float | int) or not 0 < self.tol < 1:
            raise LigflowError(
                f"tol is {self.tol!r}; it is a relative error, so give a number between 0 and 1."
            )
        if self.points is not None and self.points not in (1, 3, 7, 15, 31):
            raise LigflowError(f"points is {self.points!r}; choose from 1, 3, 7, 15, 31, or None.")
        if isinstance(self.max_points, bool) or not isinstance(self.max_points, int) or self.max_points < 7:
            raise LigflowError(
                f"max_points is {self.max_points!r}; segments begin with 7 points, so give a whole number "
                "from there."
            )


def _one_of(what: str, name: object, known: tuple[str, ...]) -> None:
    if name not in known:
        raise LigflowError(f"Unknown {what} {name!r}; choose from {', '.join(known)}.")


def explain_prediction(
    whole: PreparedModel,
    inputs: Inputs,
    answer: str | int | None = None,
    contrast: str | int | None = None,
    position: int | str | None = None,
    *,
    reference: Any = "neutral",
    on: Any = None,
    score: str | Callable[[Any], Any] = "logprob",
    cut: str = "modules",
    attention: str = "moved",
    experts: str = "routed",
    edges: Collection[int] = (),
    tol: float = 1e-3,
    max_points: int = 511,
    points: int | None = None,
    truncate: bool = False,
    progress: Progress | None = None,
) -> Prediction:
    """What each token, head and layer contributes to what a model says (`Explainer.explain_prediction`)."""
    settings = ChainSettings(cut, attention, experts, tuple(edges), tol, max_points, points)
    asked = question(whole, inputs, answer, contrast, position, score, truncate)
    references = references_of(whole, asked, reference, on)
    about = {"answer": answer, "contrast": contrast, "position": position, "on": on, "score": score}
    explained = [explain_rows(whole, asked, each, settings, about, progress)[0] for each in references]
    return explained[0] if len(explained) == 1 else Prediction.mean(explained)


def explain_rows(
    whole: PreparedModel,
    asked: Question,
    instead: Reference,
    settings: ChainSettings,
    about: dict[str, Any],
    progress: Progress | None = None,
) -> list[Prediction]:
    """One explanation for each row of a question, of one chain."""
    with exact_mode(whole.home):
        copy = whole.now()
        model = cast(PreTrainedModel, copy.placement.model)
        inputs = taken_by(model, dict(asked.inputs))
        recorded = recorded_layers(copy, inputs, asked.positions)
        with copy.placement.running():
            runs = both_runs(
                model, inputs, recorded.layers, instead.embeddings, asked.positions, asked.score,
                recorded.decoder,
            )  # fmt: skip
            built = graph_of(runs, settings.cut)
            accuracy = Accuracy(settings.tol, settings.max_points, settings.points)
            change = (built.scores[0] - built.scores[1]).double()
            with told(progress, "segments", f"{len(built.graph.segments)} segments") as report:
                result = chain(built.graph, change, accuracy, model, report)
            return [
                assemble(whole, asked, instead, settings, about, runs, built, result, row)
                for row in range(len(change))
            ]
