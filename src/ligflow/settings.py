"""What is asked of a layer: routes, baselines, scalarisation and accuracy, checked before any work."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ligflow import names
from ligflow.devices.precision import PRECISIONS
from ligflow.errors import LigflowError
from ligflow.method import baselines, scalarization
from ligflow.method.baselines import Baseline
from ligflow.method.quadrature import MAX_NODES
from ligflow.method.quadrature_rules import fixed_rule
from ligflow.method.scalarization import Direction, Scalarization

Array = NDArray[Any]
EXPERTS = tuple(names.EXPERTS.values())
ROUTES = tuple(names.ROUTES.values())


@dataclass(frozen=True, eq=False)
class Settings:
    """One question to a layer. Raises LigflowError, listing the valid names, for an unknown one."""

    routes: tuple[str, ...] = ROUTES
    att_baseline: Baseline = "itb"
    mlp_baseline: Baseline = "att_itb_a0"
    layer_baseline: Baseline = "itb"
    encoder_baseline: Baseline = "mean"
    scalarization: Scalarization | Mapping[str, Scalarization] = "l2"
    quadrature: str = "adaptive"
    tol: float = 1e-3
    max_nodes: int = MAX_NODES
    memory_budget: int | None = None
    precision: str = "float32"
    experts: str = "routed"

    def __post_init__(self) -> None:
        if not self.routes:
            raise LigflowError(f"No route given; choose from {', '.join(ROUTES)}.")
        for route in self.routes:
            _one_of("route", route, ROUTES)
        _baseline("att_baseline", self.att_baseline, baselines.SOURCE_NAMES)
        _baseline("mlp_baseline", self.mlp_baseline, baselines.MLP_NAMES)
        _baseline("layer_baseline", self.layer_baseline, baselines.LAYER_NAMES)
        _baseline("encoder_baseline", self.encoder_baseline, baselines.ENCODER_NAMES)
        if isinstance(self.scalarization, Mapping):
            for route in self.scalarization:
                _one_of("route of scalarization", route, ROUTES)
        for route in self.routes:
            kind = self.scalarization_of(route)
            if not isinstance(kind, Direction):
                _one_of("scalarization", kind, scalarization.NAMES)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("experts", self.experts, EXPERTS)
        if self.quadrature not in ("adaptive", "fine"):
            fixed_rule(str(self.quadrature))
        if not _is(self.tol, Real) or not 0 < self.tol < 1:
            raise LigflowError(
                f"tol is {self.tol!r}; it is a relative error, so give a number between 0 and 1."
            )
        if not _is(self.max_nodes, Integral) or self.max_nodes < 7:
            raise LigflowError(
                f"max_nodes is {self.max_nodes!r}; the adaptive rule starts with 7 nodes, so give a whole "
                "number from there."
            )
        budget = self.memory_budget
        if budget is not None and (not _is(budget, Integral) or budget < 1):
            raise LigflowError(
                f"memory_budget is {budget!r}; give a whole number of bytes, or None for a part "
                "of what is free."
            )

    def scalarization_of(self, route: str) -> Scalarization:
        """One for all routes, or one a route (those left out are `l2`)."""
        if isinstance(self.scalarization, Mapping):
            return self.scalarization.get(route, "l2")
        return self.scalarization

    def describe(self, memory: bool = False) -> dict[str, Any]:
        """The settings as plain data, for a flow's metadata; `memory` tells whether layers have one."""
        more = {"encoder_baseline": _describe(self.encoder_baseline)} if memory else {}
        return more | {
            "routes": list(self.routes),
            "att_baseline": _describe(self.att_baseline),
            "mlp_baseline": _describe(self.mlp_baseline),
            "layer_baseline": _describe(self.layer_baseline),
            "scalarization": {route: _describe(self.scalarization_of(route)) for route in self.routes},
            "quadrature": self.quadrature,
            "tol": float(self.tol),
            "max_nodes": int(self.max_nodes),
            "precision": self.precision,
            "experts": self.experts,
        }


def _is(value: object, kind: type[object]) -> bool:
    """Whether a caller kept to the annotation, which a type checker takes for granted."""
    return isinstance(value, kind) and not isinstance(value, bool)


def ask(
    routes: str | Iterable[str] = ROUTES,
    att_baseline: Baseline | Array = "itb",
    mlp_baseline: Baseline | Array = "att_itb_a0",
    layer_baseline: Baseline | Array = "itb",
    encoder_baseline: Baseline | Array = "mean",
    scalarization: Scalarization | Mapping[str, Scalarization] = "l2",
    quadrature: str = "adaptive",
    tol: float = 1e-3,
    max_nodes: int = MAX_NODES,
    memory_budget: int | None = None,
    precision: str = "float32",
    experts: str = "routed",
) -> Settings:
    """Settings from what a caller gives: a lone route, arrays as baselines."""
    return Settings(
        _routes(routes), _tensor(att_baseline), _tensor(mlp_baseline), _tensor(layer_baseline),
        _tensor(encoder_baseline), scalarization, quadrature, tol, max_nodes, memory_budget, precision,
        experts,
    )  # fmt: skip


def every_route(settings: Iterable[Settings]) -> tuple[str, ...]:
    """The routes that some of the settings ask for."""
    return tuple(dict.fromkeys(route for asked in settings for route in asked.routes))


def _routes(routes: str | Iterable[str]) -> tuple[str, ...]:
    """Once each; a lone name is one route."""
    try:
        return (routes,) if isinstance(routes, str) else tuple(dict.fromkeys(routes))
    except TypeError as error:
        raise LigflowError(f"routes is {routes!r}; give names, of {', '.join(ROUTES)}.") from error


def _tensor(given: Baseline | Array) -> Baseline:
    if not isinstance(given, np.ndarray):
        return given
    try:
        return torch.tensor(np.ascontiguousarray(given), device="cpu")
    except TypeError as error:
        raise LigflowError(f"A baseline array of {given.dtype} cannot be used; pass numbers.") from error


def _one_of(what: str, name: object, known: tuple[str, ...]) -> None:
    if not isinstance(name, str) or name not in known:
        raise LigflowError(f"Unknown {what} {name!r}; choose from {', '.join(known)}.")


def _baseline(what: str, given: Baseline, known: tuple[str, ...]) -> None:
    if not isinstance(given, Tensor):
        _one_of(what, given, known)


def _describe(value: Baseline | Scalarization) -> str:
    if isinstance(value, Direction):
        return f"direction{list(value.vector.shape)}"
    return f"tensor{list(value.shape)}" if isinstance(value, Tensor) else value
