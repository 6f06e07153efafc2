"""What is asked of a layer: routes, baselines, scalarisation and accuracy, checked before any work.

`SettingsOptions` is what a caller may give, `Settings` what that becomes, with all defaults.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, TypedDict, Unpack, get_args

from numpy.typing import NDArray
from torch import Tensor

from ligflow import names
from ligflow.devices.precision import PRECISIONS
from ligflow.errors import LigflowError
from ligflow.keywords import check_keywords, listing
from ligflow.method import from_names
from ligflow.method.baselines import Baseline, CustomBaseline, Itb, Mean
from ligflow.method.head_baselines import AttItbA0, HeadBaseline, Matched
from ligflow.method.quadrature import Adaptive, Quadrature
from ligflow.method.scalarization import L2, CustomScalarization, Direction, Scalarization
from ligflow.names import MAX_NODES, TOL

Array = NDArray[Any]
EXPERTS: tuple[str, ...] = get_args(names.Experts)
ROUTES: tuple[str, ...] = get_args(names.Route)
AnyScalarization = names.Scalarization | str | Direction | CustomScalarization


class RouteOptions(TypedDict, total=False):
    """All settings but the routes, as keyword arguments; their defaults are those of `Settings`.

    The names of `ligflow.names` are spelled out, for those who write; any other text is refused by `ask`.
    """

    att_baseline: names.AttBaseline | str | Tensor | Array | CustomBaseline
    mlp_baseline: names.MlpBaseline | str | Tensor | Array | CustomBaseline
    layer_baseline: names.LayerBaseline | str | Tensor | Array | CustomBaseline
    encoder_baseline: names.EncoderBaseline | str | Tensor | Array | CustomBaseline
    scalarization: AnyScalarization | Mapping[str, AnyScalarization]
    quadrature: str | Quadrature
    tol: float
    max_nodes: int
    memory_budget: int | None
    precision: names.Precision | str
    experts: names.Experts | str
    parts: bool
    split: bool
    carried: bool


class SettingsOptions(RouteOptions, total=False):
    """All settings, as keyword arguments."""

    routes: names.Route | str | Iterable[str]


OPTIONS = tuple(SettingsOptions.__annotations__)


@dataclass(frozen=True, eq=False)
class Settings:
    """One question to a layer, and the defaults; `ask` makes it of what a caller gives.

    `scalarization` holds that of each route; routes that are left out have `l2`. Raises LigflowError for an
    unknown name and a number that makes no sense.
    """

    routes: tuple[str, ...] = ROUTES
    att_baseline: Baseline = Itb()
    mlp_baseline: HeadBaseline = AttItbA0()
    layer_baseline: Baseline = Itb()
    encoder_baseline: Baseline = Mean()
    scalarization: Scalarization | Mapping[str, Scalarization] = L2()
    quadrature: Quadrature = Adaptive()
    tol: float = TOL
    max_nodes: int = MAX_NODES
    memory_budget: int | None = None
    precision: str = "float32"
    experts: str = "routed"
    parts: bool = False
    split: bool = False
    carried: bool = False

    def __post_init__(self) -> None:
        if not self.routes:
            raise LigflowError(f"No route given; choose from {', '.join(ROUTES)}.")
        for route in self.routes:
            _one_of("route", route, ROUTES)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("experts", self.experts, EXPERTS)
        if not _is(self.tol, Real) or not 0 < self.tol < 1:
            raise LigflowError(
                f"tol is {self.tol!r}; it is a relative error, so give a number between 0 and 1."
            )
        if not _is(self.max_nodes, Integral) or self.max_nodes < 7:
            raise LigflowError(
                f"max_nodes is {self.max_nodes!r}; the adaptive rule starts with 7 nodes, so give a whole "
                "number from there."
            )
        for name, route in (("parts", "z2u"), ("split", "z2z")):
            wish = getattr(self, name)
            if not isinstance(wish, bool):
                raise LigflowError(f"{name} is {wish!r}; give True or False.")
            if wish and route not in self.routes:
                raise LigflowError(
                    f"{name} splits {route}, and the routes are {', '.join(self.routes)}; add {route}, "
                    f"or leave {name} out."
                )
        self._check_carried()
        budget = self.memory_budget
        if budget is not None and (not _is(budget, Integral) or budget < 1):
            raise LigflowError(
                f"memory_budget is {budget!r}; give a whole number of bytes, or None for a part "
                "of what is free."
            )

    def _check_carried(self) -> None:
        if not isinstance(self.carried, bool):
            raise LigflowError(f"carried is {self.carried!r}; give True or False.")
        if not self.carried:
            return
        used = {"att_baseline": {"z2u", "u2z"}, "layer_baseline": {"z2z"}}
        for name, routes in used.items():
            baseline = getattr(self, name)
            if routes & {*self.routes} and not baseline.path.has_self_term:
                raise LigflowError(
                    f"A start that is carried from layer to layer is one for all targets, and {name} is "
                    f"{baseline.name!r}; choose 'mean', 'zero' or vectors."
                )
        if "u2z" in self.routes and self.mlp_baseline != Matched():
            raise LigflowError(
                f"With carried starts u2z starts where z2u does, and mlp_baseline is "
                f"{self.mlp_baseline.name!r}; choose 'matched'."
            )
        if self.experts != "routed":
            raise LigflowError("Carried starts go through the layers as they are; leave experts out.")

    def scalarization_of(self, route: str) -> Scalarization:
        """One for all routes, or one a route (those left out are `l2`)."""
        if isinstance(self.scalarization, Mapping):
            return self.scalarization.get(route, L2())
        return self.scalarization

    def describe(self, memory: bool = False) -> dict[str, Any]:
        """The settings as plain data, for a flow's metadata; `memory` tells whether layers have one."""
        more: dict[str, Any] = {"encoder_baseline": self.encoder_baseline.name} if memory else {}
        more |= {"parts": True} if self.parts else {}
        more |= {"split": True} if self.split else {}
        more |= {"carried": True} if self.carried else {}
        return more | {
            "routes": list(self.routes),
            "att_baseline": self.att_baseline.name,
            "mlp_baseline": self.mlp_baseline.name,
            "layer_baseline": self.layer_baseline.name,
            "scalarization": {route: self.scalarization_of(route).name for route in self.routes},
            "quadrature": self.quadrature.name,
            "tol": float(self.tol),
            "max_nodes": int(self.max_nodes),
            "precision": self.precision,
            "experts": self.experts,
        }


def _is(value: object, kind: type[object]) -> bool:
    """Whether a caller kept to the annotation, which a type checker takes for granted."""
    return isinstance(value, kind) and not isinstance(value, bool)


_RESOLVED: Mapping[str, Callable[[Any], Any]] = {
    "att_baseline": from_names.att_baseline,
    "mlp_baseline": from_names.mlp_baseline,
    "layer_baseline": from_names.layer_baseline,
    "encoder_baseline": from_names.encoder_baseline,
    "quadrature": from_names.quadrature,
}


def ask(**options: Unpack[SettingsOptions]) -> Settings:
    """Settings from what a caller gives: names, tensors, arrays and objects; a lone route.

    Raises LigflowError, listing the valid names, for an unknown one.
    """
    values: dict[str, Any] = dict(options)
    check_keywords(values, OPTIONS)
    values = {name: _RESOLVED.get(name, _as_it_is)(value) for name, value in values.items()}
    if "routes" in values:
        values["routes"] = _routes(values["routes"])
    if "scalarization" in values:
        values["scalarization"] = _scalarization(values["scalarization"])
    return Settings(**values)


with_settings = listing(
    SettingsOptions.__annotations__, {field.name: field.default for field in fields(Settings)}
)


def every_route(settings: Iterable[Settings]) -> tuple[str, ...]:
    """The routes that some of the settings ask for."""
    return tuple(dict.fromkeys(route for each in settings for route in each.routes))


def _as_it_is(value: Any) -> Any:
    return value


def _scalarization(value: Any) -> Scalarization | Mapping[str, Scalarization]:
    if not isinstance(value, Mapping):
        return from_names.scalarization(value)
    for route in value:
        _one_of("route of scalarization", route, ROUTES)
    return {route: from_names.scalarization(each) for route, each in value.items()}


def _routes(routes: str | Iterable[str]) -> tuple[str, ...]:
    """Once each; a lone name is one route."""
    try:
        return (routes,) if isinstance(routes, str) else tuple(dict.fromkeys(routes))
    except TypeError as error:
        raise LigflowError(f"routes is {routes!r}; give names, of {', '.join(ROUTES)}.") from error


def _one_of(what: str, name: object, known: tuple[str, ...]) -> None:
    if not isinstance(name, str) or name not in known:
        raise LigflowError(f"Unknown {what} {name!r}; choose from {', '.join(known)}.")
