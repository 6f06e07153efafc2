"""How long a prediction's explanation will take and how much memory, from some of its segments."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from time import perf_counter
from typing import TypeVar, Unpack

from torch import nn

from ligflow.devices.peak_memory import peak_memory
from ligflow.devices.precision import exact_mode
from ligflow.errors import LigflowError
from ligflow.explainer.estimate import Estimate
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.prediction.assembly import assemble
from ligflow.prediction.chain import Chain, chain
from ligflow.prediction.graph import Built, Runs
from ligflow.prediction.kept_edges import kept_edges, layers_with_edges
from ligflow.prediction.nodes import nodes_of
from ligflow.prediction.question_graph import accuracy_of, taken_apart
from ligflow.prediction.references import reference as references_of
from ligflow.prediction.targets import one_score, question
from ligflow.prediction_settings import PredictionOptions, PredictionSettings, ask

_PART = 5  # every fifth segment takes the points that it needs
_BLOCKS = {"modules": 6, "layer": 1}  # so many beside each other: segments of whole layers, of 1, 2 or 3
Result = TypeVar("Result")


def estimate_prediction(
    whole: PreparedModel,
    inputs: Inputs,
    answer: str | int | None = None,
    contrast: str | int | None = None,
    position: int | str | None = None,
    **options: Unpack[PredictionOptions],
) -> Estimate:
    """What `explain_prediction` of the same arguments will take (`Explainer.estimate_prediction`).

    The chain is run with as few points as there are, but for every fifth segment (of `modules` in groups of
    whole layers), which take what they need: with `t` their mean seconds and `t_S` those of the last segment,
    of `S` segments, the chain will take `(S - 1) t + t_S`. Edges are computed of one layer, for as many as
    will be kept. Raises LigflowError where a model is one segment.
    """
    settings = ask(PredictionOptions, options)
    if settings.cut == "model":
        raise LigflowError(
            "With cut='model' the model is one segment, and a part of it cannot be measured; choose another "
            "cut, or time a short text."
        )
    about, bare = settings.about(answer, contrast, position), replace(settings, edges=(), parts=False)
    with whole.steady():
        subject = one_score(
            question(whole, inputs, answer, contrast, position, settings.score, settings.truncate)
        )
        references = references_of(whole, subject, settings.reference, settings.on)
        with exact_mode(whole.home), peak_memory(whole.home) as peak:
            copy = whole.now()
            with copy.placement.running():
                (first, _), (run, (runs, built)) = (
                    _timed(lambda: taken_apart(copy, subject, references[0], settings)) for _ in range(2)
                )
                chained, result = _in_part(built, settings, runs.model)
                rest, _ = _timed(
                    lambda: assemble(whole, subject, references[0], bare, about, runs, built, result, 0)
                )
                edges, size = _edges(runs, built, result, settings)
    return Estimate(
        seconds=len(references) * (run + chained + rest + edges),
        preparing=max(first - run, 0),
        peak_bytes=peak.device or peak.process + len(references) * size,
        measured=len(_measured(len(built.graph.segments), settings.cut)),
        total=len(built.graph.segments),
        units="segments",
    )


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """The seconds that something takes, and what it gives."""
    before = perf_counter()
    result = work()
    return perf_counter() - before, result


def _measured(count: int, cut: str) -> list[int]:
    """The segments that take the points that they need, in the middles of parts; all, where they are few."""
    block, before_last = _BLOCKS[cut], range(count - 1)  # the last makes the score
    if count <= _PART * block:
        return list(before_last)
    return [number for number in before_last if number // block % _PART == _PART // 2]


def _in_part(built: Built, settings: PredictionSettings, model: nn.Module) -> tuple[float, Chain]:
    """The seconds that the whole chain would take, and one with few points in most segments."""
    change, marks = (built.scores[0] - built.scores[1]).double(), list[float]()
    measured = _measured(len(built.graph.segments), settings.cut)
    accuracy = replace(accuracy_of(settings), apart=frozenset(measured))
    result = chain(built.graph, change, accuracy, model, lambda *_: marks.append(perf_counter()))
    *seconds, last = [later - before for before, later in pairwise(marks)][::-1]
    each = sum(seconds[number] for number in measured) / len(measured)
    return each * len(seconds) + last, result


def _edges(runs: Runs, built: Built, result: Chain, settings: PredictionSettings) -> tuple[float, int]:
    """The seconds that edges of all layers take that will be kept, and their bytes, from one of them."""
    if settings.cut != "modules":
        return 0.0, 0
    heads = nodes_of(built.graph, built.calls, result, 0).heads
    layers = layers_with_edges(heads, settings.edges, len(runs.layers))
    one = layers[len(layers) // 2 :][:1]
    seconds, kept = _timed(
        lambda: kept_edges(built, result, 0, one, runs.held, settings.parts, settings.points)
    )
    size = sum(edges.nbytes for edges in (*kept.edges.values(), *kept.parts.values()))
    return seconds * len(layers), size * len(layers)
