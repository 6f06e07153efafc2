"""Many inputs: those that can go through the model together do, each with its own points and errors."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from ligflow.prediction.chain import Chain, chain
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


@dataclass(frozen=True)
class Request:
    """One of many questions: an input, and what is asked of it. `reference` None is that of all."""

    inputs: Inputs
    answer: str | int | None = None
    contrast: str | int | None = None
    position: int | str | None = None
    reference: Any = None


LeftOut = Callable[[int, LigflowError], None]


@dataclass(frozen=True, eq=False)
class _Taken:
    """A question with its references, its settings, and what its explanation says of it."""

    subject: Question
    references: list[Reference]
    settings: PredictionSettings
    about: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Example:
    """One question with one reference, taken apart."""

    taken: _Taken
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
    count = len(many) if isinstance(many, Sized) else 0
    each = (Request(inputs, answer, contrast, position) for inputs in many)

    def predictions() -> Iterator[Prediction]:
        finished = 0
        with told(progress, "inputs", f"{count} inputs") as report:
            for _, prediction in explain_each(whole, each, settings, batch_size):
                finished += 1
                if report is not None:
                    report(finished, count)
                yield warn_unmet(prediction)

    return predictions()


def explain_each(
    whole: PreparedModel,
    many: Iterable[Request],
    settings: PredictionSettings,
    batch_size: int | None = None,
    left_out: LeftOut | None = None,
) -> Iterator[tuple[int, Prediction]]:
    """The explanation of each of many questions with its number, in their order.

    `left_out` hears of the number of a question that cannot be explained, and why; without it the first of
    these raises its LigflowError.
    """
    waiting = enumerate(many)
    while several := list(islice(waiting, _WINDOW)):
        with whole.steady():
            window: dict[int, _Taken] = {}
            for number, request in several:
                with _leaving_out(left_out, number):
                    window[number] = _taken(whole, request, settings)
            explained = _window(whole, window, batch_size, left_out)
        yield from sorted(explained.items(), key=lambda pair: pair[0])


@contextmanager
def _leaving_out(left_out: LeftOut | None, number: int) -> Iterator[None]:
    try:
        yield
    except LigflowError as error:
        if left_out is None:
            raise
        left_out(number, error)


def _taken(whole: PreparedModel, request: Request, settings: PredictionSettings) -> _Taken:
    """A question of the model, and its references."""
    sought = request.answer, request.contrast, request.position
    if request.reference is not None:
        settings = replace(settings, reference=request.reference)
    subject = one_score(question(whole, request.inputs, *sought, settings.score, settings.truncate))
    references = references_of(whole, subject, settings.reference, settings.on)
    return _Taken(subject, references, settings, settings.about(*sought))


def _window(
    whole: PreparedModel, window: Mapping[int, _Taken], batch_size: int | None, left_out: LeftOut | None
) -> dict[int, Prediction]:
    """The explanations of some questions, by their numbers."""
    explained: dict[int, Prediction] = {}
    lengths: dict[int, list[int]] = {}
    for number, taken in window.items():
        settings = taken.settings
        alone = settings.attention != "moved" or settings.experts != "routed" or settings.cut == "model"
        if alone or len(taken.references) > 1:
            with _leaving_out(left_out, number):
                explained[number] = _alone(whole, taken)
        else:
            lengths.setdefault(len(taken.subject.tokens.labels), []).append(number)
    for length, numbers in lengths.items():
        most = batch_size or max(1, _TOKENS // length)
        for start in range(0, len(numbers), most):
            explained |= _part(whole, window, numbers[start : start + most], left_out)
    return explained


def _part(
    whole: PreparedModel, window: Mapping[int, _Taken], numbers: Sequence[int], left_out: LeftOut | None
) -> dict[int, Prediction]:
    """Explanations of questions of as many tokens. Where together they cannot be, each is asked alone."""
    try:
        return dict(zip(numbers, _together(whole, [window[n] for n in numbers]), strict=True))
    except LigflowError:
        if left_out is None:
            raise
    explained: dict[int, Prediction] = {}
    for number in numbers:
        with _leaving_out(left_out, number):
            (explained[number],) = _together(whole, [window[number]])
    return explained


def _alone(whole: PreparedModel, taken: _Taken) -> Prediction:
    """The explanation of one question by itself, the mean over its references."""
    rows = [
        explain_rows(whole, taken.subject, each, taken.settings, taken.about)[0] for each in taken.references
    ]
    return rows[0] if len(rows) == 1 else Prediction.mean(rows)


def _together(whole: PreparedModel, questions: Sequence[_Taken]) -> list[Prediction]:
    """Explanations of questions of as many tokens; those that do not fit to the first go by themselves."""
    with exact_mode(whole.home):
        copy = whole.now()
        with copy.placement.running():
            alone = len(questions) == 1  # many would keep the products of many runs
            examples = [
                _Example(taken, *taken_apart(copy, taken.subject, taken.references[0], taken.settings, alone))
                for taken in questions
            ]
            fitting = [fit_together(examples[0].built, each.built) for each in examples]
            groups = [
                [n for n, fits in enumerate(fitting) if fits],
                *[[n] for n, fits in enumerate(fitting) if not fits],
            ]
            explained: dict[int, Prediction] = {}
            for group in groups:
                chained = _chained([examples[n] for n in group], whole)
                explained |= dict(zip(group, chained, strict=True))
            return [explained[number] for number in range(len(examples))]


def _chained(examples: Sequence[_Example], whole: PreparedModel) -> list[Prediction]:
    """One chain for all examples."""
    change = torch.cat([(each.built.scores[0] - each.built.scores[1]).double() for each in examples])
    built, first = [each.built for each in examples], examples[0]
    result = chain(
        graph_of_all(built), change, accuracy_of(first.taken.settings), first.runs.model,
        of_rows=lambda rows: graph_of_all([built[row] for row in rows]),
    )  # fmt: skip
    return [_explanation(whole, each, result.only(torch.tensor([row]))) for row, each in enumerate(examples)]


def _explanation(whole: PreparedModel, example: _Example, result: Chain) -> Prediction:
    own, runs, built = example.taken, example.runs, example.built
    subject, instead = own.subject, own.references[0]
    return assemble(whole, subject, instead, own.settings, own.about, runs, built, result, 0)
