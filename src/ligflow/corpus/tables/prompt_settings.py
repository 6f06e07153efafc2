"""What is asked of each prompt of a run."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from ligflow.corpus.tables.kinds import PREDICTIONS
from ligflow.errors import LigflowError
from ligflow.names import TOL
from ligflow.prediction_settings import MAX_POINTS, PredictionOptions, PredictionSettings, ask


@dataclass(frozen=True)
class PromptSettings:
    """What is asked of each prompt; all of it decides about the numbers, and is kept in the manifest.

    `reference` is that of prompts that bring none along: `neutral`, `mean` or `random`. The others are those
    of `Explainer.explain_prediction`. Raises LigflowError for what that does not take.
    """

    reference: str = "neutral"
    score: str = "logprob"
    attention: str = "moved"
    experts: str = "routed"
    tol: float = TOL
    truncate: bool = False
    max_points: int = MAX_POINTS
    kind: ClassVar[str] = PREDICTIONS

    def __post_init__(self) -> None:
        if not isinstance(self.score, str):
            raise LigflowError(f"score is {self.score!r}; a run keeps its name: give logprob or logit.")
        self.prediction  # noqa: B018

    @property
    def prediction(self) -> PredictionSettings:
        """How a prediction is taken apart; what heads read is not kept."""
        return ask(PredictionOptions, asdict(self) | {"edges": ()})

    def describe(self) -> dict[str, Any]:
        """As plain data, for the manifest."""
        return asdict(self)
