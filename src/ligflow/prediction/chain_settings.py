"""How a prediction is taken apart, and how exactly: checked before any work."""

from dataclasses import dataclass

from ligflow.errors import LigflowError

CUTS, STRONGEST, ALL = ("modules", "layer", "model"), "strongest", "all"


@dataclass(frozen=True)
class ChainSettings:
    """How a prediction is taken apart, and how exactly; checked.

    `cut` is `modules`, `layer` or `model`; `edges` are the layers whose edges are kept, those of
    the `strongest` heads, or `all`.
    """

    cut: str = "modules"
    attention: str = "moved"
    experts: str = "routed"
    edges: tuple[int, ...] | str = STRONGEST
    tol: float = 1e-3
    max_points: int = 511
    points: int | None = None

    def __post_init__(self) -> None:
        _one_of("cut", self.cut, CUTS)
        _one_of("attention", self.attention, ("moved", "held"))
        _one_of("experts", self.experts, ("routed", "held"))
        if isinstance(self.edges, str):
            _one_of("edges", self.edges, (STRONGEST, ALL))
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
