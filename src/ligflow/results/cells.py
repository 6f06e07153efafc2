"""Single cells of a flow that a reader must know of: those that miss the tolerance, and where F jumps."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A (route, layer, head, target) that does not meet the tolerance, with its two errors."""

    route: str
    layer: int
    head: int | None
    target: int
    token: str
    certificate: float
    estimated_error: float


@dataclass(frozen=True)
class RoutingChange:
    """A target whose experts change on its path: how far F jumps there in all, relative to the total."""

    route: str
    layer: int
    target: int
    token: str
    jump: float
    certificate: float
    met: bool
