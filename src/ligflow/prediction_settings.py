"""What is asked of a prediction: reference, cut and accuracy, checked before any work.

The options of `SimilarityOptions`, `AnswerOptions` and `PredictionOptions` are what a caller may give,
`PredictionSettings` what they become, with all defaults.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypedDict, get_args

from ligflow import names
from ligflow.dictionaries.dictionary import Dictionary
from ligflow.dictionaries.read import read_dictionary
from ligflow.errors import LigflowError
from ligflow.keywords import Function, check_flag, check_keywords, listing

STRONGEST, ALL = "strongest", "all"
MAX_POINTS = 511


class SimilarityOptions(TypedDict, total=False):
    """How the similarity of two texts is taken apart; the defaults are those of `PredictionSettings`."""

    reference: Any
    cut: names.Cut | str
    attention: names.HeldAttention | str
    experts: names.HeldExperts | str
    edges: Collection[int] | str
    tol: float
    max_points: int
    points: int | None
    parts: bool
    neurons: Collection[int] | str
    features: Any
    truncate: bool


class AnswerOptions(SimilarityOptions, total=False):
    """How an answer of several tokens is taken apart."""

    on: Any


class PredictionOptions(AnswerOptions, total=False):
    """How a prediction is taken apart."""

    score: names.Score | str | Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class PredictionSettings:
    """How a prediction is taken apart, against what, and how exactly; checked.

    `cut` is `modules`, `layer` or `model`; `edges` are the layers whose edges are kept, those of
    the `strongest` heads, or `all`, and `parts` says whether they are split by value, key and query.
    `neurons` are the layers whose hidden units are kept, those of the `strongest` MLPs, or `all`, and
    `features` are dictionaries whose features are kept. What would do nothing beside another setting is
    refused with a LigflowError. References, spans and scores are checked where they meet the input.
    """

    reference: Any = "neutral"
    on: Any = None
    score: str | Callable[[Any], Any] = "logprob"
    cut: str = "modules"
    attention: str = "moved"
    experts: str = "routed"
    edges: Collection[int] | str = STRONGEST
    tol: float = names.TOL
    max_points: int = MAX_POINTS
    points: int | None = None
    parts: bool = False
    neurons: Collection[int] | str = ()
    features: Any = ()
    truncate: bool = False

    def __post_init__(self) -> None:
        _one_of("cut", self.cut, get_args(names.Cut))
        _one_of("attention", self.attention, get_args(names.HeldAttention))
        _one_of("experts", self.experts, get_args(names.HeldExperts))
        object.__setattr__(self, "edges", _layers("edges", self.edges))
        object.__setattr__(self, "neurons", _layers("neurons", self.neurons))
        if self.cut != "modules" and self.edges and self.edges != STRONGEST:
            raise LigflowError(
                f"edges={self.edges!r} are what heads read, and cut={self.cut!r} knows no heads; "
                "leave edges out, or choose cut='modules'."
            )
        if self.cut != "modules" and self.neurons:
            raise LigflowError(
                f"neurons={self.neurons!r} are hidden units of MLPs, and cut={self.cut!r} knows no MLPs; "
                "leave neurons out, or choose cut='modules'."
            )
        if isinstance(self.tol, bool) or not isinstance(self.tol, float | int) or not 0 < self.tol < 1:
            raise LigflowError(
                f"tol is {self.tol!r}; it is a relative error, so give a number between 0 and 1."
            )
        check_flag("parts", self.parts)
        check_flag("truncate", self.truncate)
        if self.parts and (self.cut != "modules" or self.edges == ()):
            other = f"cut={self.cut!r} has none" if self.cut != "modules" else "no layer's are kept"
            raise LigflowError(
                f"parts splits what heads read, and {other}; leave parts out, or ask with cut='modules' and "
                "edges='strongest', 'all' or layers."
            )
        object.__setattr__(self, "features", _dictionaries(self.features))
        if self.features and self.cut == "model":
            raise LigflowError(
                "features are read where layers are cut, and cut='model' cuts none; leave one of them out."
            )
        counted = isinstance(self.points, int) and not isinstance(self.points, bool)
        if self.points is not None and not (counted and self.points in (3, 7, 15, 31)):
            raise LigflowError(f"points is {self.points!r}; choose from 3, 7, 15, 31, or None.")
        if isinstance(self.max_points, bool) or not isinstance(self.max_points, int) or self.max_points < 7:
            raise LigflowError(
                f"max_points is {self.max_points!r}; segments begin with 7 points, so give a whole number "
                "from there."
            )
        if self.points is not None and self.max_points != MAX_POINTS:
            raise LigflowError(
                f"points={self.points} is how many every segment takes, and max_points={self.max_points} how "
                "many it takes at most where it chooses itself; leave one of them out."
            )

    def about(
        self, answer: Any = None, contrast: Any = None, position: Any = None, score: Any = None
    ) -> dict[str, Any]:
        """What was asked, for an explanation's metadata."""
        return {
            "answer": answer, "contrast": contrast, "position": position, "on": self.on,
            "score": self.score if score is None else score,
        }  # fmt: skip


_DEFAULTS: Mapping[type, Mapping[str, Any]] = {  # where they differ from those of `PredictionSettings`
    SimilarityOptions: {"edges": ()},
    AnswerOptions: {"edges": ()},
    PredictionOptions: {},
}


def ask(kind: type, options: Mapping[str, Any]) -> PredictionSettings:
    """Settings from the options of a kind that a caller gives.

    Raises LigflowError for a value that makes no sense, TypeError for a name that is none of this kind.
    """
    check_keywords(options, kind.__annotations__)
    return PredictionSettings(**{**_DEFAULTS[kind], **options})


def with_options(kind: type) -> Callable[[Function], Function]:
    """A decorator: the signature of a function of `**options` lists those of a kind, with their defaults."""
    defaults = {field.name: field.default for field in fields(PredictionSettings)} | {**_DEFAULTS[kind]}
    return listing(kind.__annotations__, defaults)


def _layers(what: str, edges: object) -> tuple[int, ...] | str:
    """The layers that are named. Raises LigflowError for what is neither numbers nor a word for some."""
    if isinstance(edges, str):
        _one_of(what, edges, (STRONGEST, ALL))
        return edges
    numbers = tuple(edges) if isinstance(edges, Collection) else (None,)
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        raise LigflowError(
            f"{what} is {edges!r}; give the numbers of layers, e.g. {what}=[0, -1], or choose from "
            f"{STRONGEST}, {ALL}."
        )
    return tuple(number for number in numbers if number is not None)


def _dictionaries(features: Any) -> tuple[Dictionary, ...]:
    """The dictionaries, of which those that are named by their folders are read."""
    alone = isinstance(features, Dictionary | str | Path)
    every: Sequence[Any] = [features] if alone else features if isinstance(features, Sequence) else [None]
    if not all(isinstance(each, Dictionary | str | Path) for each in every):
        raise LigflowError(
            f"features is {features!r}; give a dictionary of read_dictionary, its folder, or a list of these."
        )
    return tuple(each if isinstance(each, Dictionary) else read_dictionary(each) for each in every)


def _one_of(what: str, name: object, known: tuple[str, ...]) -> None:
    if name not in known:
        raise LigflowError(f"Unknown {what} {name!r}; choose from {', '.join(known)}.")
