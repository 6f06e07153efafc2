"""Many inputs: those that can go through the model together do, each with its own points and errors."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from typing import Any, Unpack

import torch

from ligflow.devices.precision import exact_mode
from ligflow.errors import LigflowError
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.chat import is_chat
from ligflow.inputs.checks import Inputs
from ligflow.inputs.pairs import Pair
from ligflow.inputs.words import Words
from ligflow.prediction.assembly import assemble, warn_unmet
from ligflow.prediction.chain import chain
from ligflow.prediction.explain import explain_rows
from ligflow.prediction.graph import Built, Runs
from ligflow.prediction.prediction import Prediction
from ligflow.prediction.question import Question
from ligflow.prediction.question_graph import accuracy_of, taken_apart
from ligflow.prediction.references import Reference
from ligflow.prediction.references import reference as references_of
from ligflow.prediction.targets import one_score, question
from ligflow.prediction.together import fit_together, graph_of_all
from ligflow.prediction_settings import PredictionOptions, PredictionSettings, ask
from ligflow.progress import Progress, told

_WINDOW = 64  # inputs that are sorted by their number of tokens together; results wait for those before them
_TOKENS = 256  # of all examples that go through a segment together


@dataclass(frozen=True, eq=False)
class _Example:
    """One question with one reference, taken apart."""

    subject: Question
    instead: Reference
    runs: Runs
    built: Built


def explain_predictions(
    whole: PreparedModel,
    many: Iterable[Inputs],
    answer: str | int | None = None,
    contrast: str | int | None = None,
    position: int | str | None = None,
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
    **options: Unpack[PredictionOptions],
) -> Iterator[Prediction]:
    """One explanation for each of many inputs, in their order (`Explainer.explain_predictions`)."""
    if isinstance(many, str | Words | Pair | Mapping) or is_chat(many) or not isinstance(many, Iterable):
        raise LigflowError("Several inputs are expected, e.g. a list; for one, call explain_prediction.")
    whole_number = isinstance(batch_size, int) and not isinstance(batch_size, bool) and batch_size >= 1
    if batch_size is not None and not whole_number:
        raise LigflowError(f"batch_size is {batch_size!r}; give a whole number from 1, or None.")
    settings = ask(PredictionOptions, options)
    sought = answer, contrast, position
    about = settings.about(*sought)

    def of_inputs(inputs: Inputs) -> tuple[Question, list[Reference]]:
        own = one_score(question(whole, inputs, *sought, settings.score, settings.truncate))
        return own, references_of(whole, own, settings.reference, settings.on)

    count = len(many) if isinstance(many, Sized) else 0

    def predictions() -> Iterator[Prediction]:
        waiting, finished = iter(many), 0
        with told(progress, "inputs", f"{count} inputs") as report:
            while several := list(islice(waiting, _WINDOW)):
                with whole.steady():
                    window = [of_inputs(inputs) for inputs in several]
                    explained = _window(whole, window, settings, about, batch_size)
                for prediction in explained:
                    finished += 1
                    if report is not None:
                        report(finished, count)
                    yield warn_unmet(prediction)

    return predictions()


def _window(
    whole: PreparedModel,
    window: Sequence[tuple[Question, list[Reference]]],
    settings: PredictionSettings,
    about: dict[str, Any],
    batch_size: int | None,
) -> list[Prediction]:
    """The explanations of some questions, in their order."""
    alone = settings.attention != "moved" or settings.experts != "routed" or settings.cut == "model"
    explained: dict[int, Prediction] = {}
    lengths: dict[int, list[int]] = {}
    for number, (own, references) in enumerate(window):
        if alone or len(references) > 1:
            rows = [explain_rows(whole, own, each, settings, about)[0] for each in references]
            explained[number] = rows[0] if len(rows) == 1 else Prediction.mean(rows)
        else:
            lengths.setdefault(len(own.tokens.labels), []).append(number)
    for length, numbers in lengths.items():
        most = batch_size or max(1, _TOKENS // length)
        for start in range(0, len(numbers), most):
            part = numbers[start : start + most]
            predictions = _together(whole, [(window[n][0], window[n][1][0]) for n in part], settings, about)
            explained |= dict(zip(part, predictions, strict=True))
    return [explained[number] for number in range(len(window))]


def _together(
    whole: PreparedModel,
    questions: Sequence[tuple[Question, Reference]],
    settings: PredictionSettings,
    about: dict[str, Any],
) -> list[Prediction]:
    """Explanations of questions of as many tokens; those that do not fit to the first go by themselves."""
    with exact_mode(whole.home):
        copy = whole.now()
        with copy.placement.running():
            examples = [
                _Example(own, instead, *taken_apart(copy, own, instead, settings))
                for own, instead in questions
            ]
            fitting = [fit_together(examples[0].built, each.built) for each in examples]
            groups = [
                [n for n, fits in enumerate(fitting) if fits],
                *[[n] for n, fits in enumerate(fitting) if not fits],
            ]
            explained: dict[int, Prediction] = {}
            for group in groups:
                chained = _chained([examples[n] for n in group], settings, whole, about)
                explained |= dict(zip(group, chained, strict=True))
            return [explained[number] for number in range(len(examples))]


def _chained(
    examples: Sequence[_Example], settings: PredictionSettings, whole: PreparedModel, about: dict[str, Any]
) -> list[Prediction]:
    """One chain for all examples."""
    change = torch.cat([(each.built.scores[0] - each.built.scores[1]).double() for each in examples])
    built = [each.built for each in examples]
    result = chain(
        graph_of_all(built), change, accuracy_of(settings), examples[0].runs.model,
        of_rows=lambda rows: graph_of_all([built[row] for row in rows]),
    )  # fmt: skip
    return [
        assemble(whole, each.subject, each.instead, settings, about, each.runs, each.built, result.of(row), 0)
        for row, each in enumerate(examples)
    ]
