"""The integrals that all pairs of baselines need: each is computed once a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from ligflow.corpus.tables.kinds import CONSISTENCY
from ligflow.corpus.tables.schema import ATT, DIRECT, PAIRS, UNITS, mlp_start
from ligflow.errors import LigflowError
from ligflow.flow import Flow
from ligflow.names import MAX_NODES, TOL
from ligflow.settings import ask

VARIANTS = (
    *(("z2u", baseline) for baseline in ATT),
    *(("u2z", start) for start in dict.fromkeys(mlp_start(*pair) for pair in PAIRS)),
    *(("z2z", baseline) for baseline in DIRECT),
)
_OPTION = {"z2u": "att_baseline", "z2z": "layer_baseline"}
Variants = Mapping[tuple[str, str], Flow]  # by route and baseline


@dataclass(frozen=True)
class Experiment:
    """What is asked of each sentence; all of it decides about the numbers, and is kept in the manifest.

    `units` are tokens, words or both; `hide_special` leaves special tokens out of the comparisons;
    `top_k` is the k of that metric; `seed` is that of the shuffled control; `maps` keeps all maps.
    The others are those of `Explainer.explain`.
    """

    layers: tuple[int, ...] | None = None
    units: tuple[str, ...] = ("token",)
    hide_special: bool = False
    top_k: int = 3
    seed: int = 0
    maps: bool = False
    scalarization: str = "l2"
    quadrature: str = "adaptive"
    tol: float = TOL
    max_nodes: int = MAX_NODES
    precision: str = "float32"
    kind: ClassVar[str] = CONSISTENCY

    def __post_init__(self) -> None:
        for unit in self.units:
            if unit not in UNITS:
                raise LigflowError(f"Unknown unit {unit!r}; choose from {', '.join(UNITS)}.")
        if not self.units or len(set(self.units)) < len(self.units):
            raise LigflowError(f"units is {self.units!r}; give each of {', '.join(UNITS)} at most once.")
        if self.top_k < 1:
            raise LigflowError(f"top_k is {self.top_k}; give a whole number from 1.")
        ask(**self.integration)

    @property
    def integration(self) -> dict[str, Any]:
        """How the integrals are taken, as `explain` calls it."""
        names = ("scalarization", "quadrature", "tol", "max_nodes", "precision")
        return {name: getattr(self, name) for name in names}

    @property
    def variants(self) -> list[dict[str, Any]]:
        """The settings of each of VARIANTS, for `explain_many_under`."""
        return [{"routes": route} | _baselines(route, name) | self.integration for route, name in VARIANTS]

    def describe(self) -> dict[str, Any]:
        """As plain data, for the manifest."""
        return asdict(self) | {"layers": None if self.layers is None else list(self.layers)}


def _baselines(route: str, name: str) -> dict[str, str]:
    if route != "u2z":
        return {_OPTION[route]: name}
    mlp, _, att = name.partition(":")
    return {"mlp_baseline": mlp} | ({"att_baseline": att} if att else {})


def named(flows: Sequence[Flow]) -> Variants:
    """The flows by route and baseline, in the order of VARIANTS."""
    return dict(zip(VARIANTS, flows, strict=True))
