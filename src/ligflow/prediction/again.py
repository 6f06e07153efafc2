"""The chain of an explanation run again, for what is asked of it afterwards: hidden units, features."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ligflow.devices.precision import exact_mode
from ligflow.errors import LigflowError
from ligflow.prediction.chain import Chain, chain
from ligflow.prediction.check import Asked
from ligflow.prediction.graph import Built, Runs
from ligflow.prediction.question_graph import accuracy_of, taken_apart
from ligflow.results.prediction_data import PredictionData

_CHAINED = "_chained"  # kept beside the fields of a prediction, so that a second look costs little


@dataclass(frozen=True, eq=False)
class Chained:
    """The two runs, the segments between them and the chain through these; `row` is the explanation's."""

    runs: Runs
    built: Built
    result: Chain
    row: int


@contextmanager
def chained_again(prediction: PredictionData, instead: str) -> Iterator[Chained]:
    """The chain that a prediction came of, with its model ready to be run, for what was not asked before.

    It is run once and kept with the prediction, which holds the model's states from then on. `instead` says
    what to do where there is no model. Raises LigflowError there, as for an explanation from a file or a
    mean, and where the model explains otherwise by now.
    """
    subject = vars(prediction).get("_asked")
    if not isinstance(subject, Asked):
        raise LigflowError(
            f"This explanation comes from a file or is a mean, so there is no model to run; {instead}."
        )
    with subject.whole.steady(), exact_mode(subject.whole.home):
        copy = subject.whole.now()
        with copy.placement.running():
            if _CHAINED not in vars(prediction):
                vars(prediction)[_CHAINED] = _chained(prediction, subject)
            yield vars(prediction)[_CHAINED]


def _chained(prediction: PredictionData, subject: Asked) -> Chained:
    settings = subject.settings
    runs, built = taken_apart(subject.whole.now(), subject.question, subject.reference, settings)
    change = (built.scores[0] - built.scores[1]).double()
    result = chain(built.graph, change, accuracy_of(settings), runs.model)
    off = float((result.by_depth[subject.row, 0] - prediction.relevance).abs().sum())
    if off > settings.tol * prediction.scale:
        raise LigflowError(
            f"The model explains this otherwise by now (by {off / prediction.scale:.1e} of the scale): its "
            "weights were changed. Explain the input again."
        )
    return Chained(runs, built, result, subject.row)
