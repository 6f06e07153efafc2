"""Baselines and scalarisations by their names, by a tensor, or a caller's own object; rules likewise.

A new one of ligflow's is a class in its family's file, an entry here, and its name in `ligflow.names`.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.method.baselines import Baseline, CheckedBaseline, EncoderVector, Itb, Mean, Vectors, Zero
from ligflow.method.head_baselines import (
    AttItbA0,
    CheckedHeads,
    HeadBaseline,
    HeadVectors,
    Matched,
    ZeroHeads,
)
from ligflow.method.quadrature import Adaptive, CheckedQuadrature, Fine, Fixed, Quadrature
from ligflow.method.quadrature_rules import fixed_rule
from ligflow.method.ratio_corrections import ItbMapRatio, ItbZeroRatio
from ligflow.method.scalarization import L2, CheckedScalarization, Projection, Scalarization

Kind = TypeVar("Kind", bound=Baseline | HeadBaseline | Scalarization | Quadrature)


def _by_name(*objects: Kind) -> dict[str, Kind]:
    return {each.name: each for each in objects}


ATT_BASELINES: Mapping[str, Baseline] = _by_name(Itb(), Zero(), Mean(), ItbZeroRatio(), ItbMapRatio())
MLP_BASELINES = _by_name(AttItbA0(), ZeroHeads(), Matched())
LAYER_BASELINES = _by_name(Itb(), Zero(), Mean(), ItbZeroRatio())
ENCODER_BASELINES = _by_name(Mean(), Zero())
SCALARIZATIONS = _by_name(L2(), Projection())
QUADRATURES: Mapping[str, Quadrature] = _by_name(Adaptive(), Fine())
_FAMILIES: tuple[Mapping[str, Any], ...] = (ATT_BASELINES, MLP_BASELINES, SCALARIZATIONS, QUADRATURES)
RESERVED = frozenset(name for family in _FAMILIES for name in family)


def att_baseline(value: Any) -> Baseline:
    """Where the sources of z2u start. Raises LigflowError for what is no baseline."""
    return _resolved("att_baseline", value, ATT_BASELINES, CheckedBaseline, ("start",), Vectors)


def mlp_baseline(value: Any) -> HeadBaseline:
    """Where the heads of u2z start. Raises LigflowError for what is no baseline."""
    return _resolved("mlp_baseline", value, MLP_BASELINES, CheckedHeads, ("start",), HeadVectors)


def layer_baseline(value: Any) -> Baseline:
    """Where the sources of z2z start. Raises LigflowError for what is no baseline."""
    return _resolved("layer_baseline", value, LAYER_BASELINES, CheckedBaseline, ("start",), Vectors)


def encoder_baseline(value: Any) -> Baseline:
    """Where the encoder's tokens start. Raises LigflowError for what is no baseline."""
    return _resolved("encoder_baseline", value, ENCODER_BASELINES, CheckedBaseline, ("start",), EncoderVector)


def scalarization(value: Any) -> Scalarization:
    """What a vector that moved is measured by. Raises LigflowError for what is no scalarisation."""
    if isinstance(value, Scalarization):
        return value
    return _resolved("scalarization", value, SCALARIZATIONS, CheckedScalarization, ("value", "cotangent"))


def quadrature(value: Any) -> Quadrature:
    """The rule that integrates. Raises LigflowError for what is no rule."""
    if isinstance(value, Fixed) or not hasattr(value, "integrate"):
        name = value.name if isinstance(value, Fixed) else str(value)
        if name in QUADRATURES:
            return QUADRATURES[name]
        fixed_rule(name)  # refuses what it does not know
        return Fixed(name)
    return _resolved("quadrature", value, QUADRATURES, CheckedQuadrature, ("integrate",))


def _resolved(
    what: str,
    value: Any,
    named: Mapping[str, Kind],
    custom: Callable[[Any], Kind],
    methods: tuple[str, ...],
    tensor: Callable[[Tensor], Kind] | None = None,
) -> Kind:
    """The object of a name or a tensor; one of ligflow's own as it is; a caller's own checked when used."""
    if isinstance(value, str):
        if value not in named:
            raise LigflowError(f"Unknown {what} {value!r}; choose from {', '.join(named)}.")
        return named[value]
    if tensor is not None and isinstance(value, Tensor | np.ndarray):
        return tensor(_tensor(value))
    name = getattr(value, "name", None)
    if isinstance(name, str) and name in named and type(value) is type(named[name]):
        return named[name]
    _check_own(what, value, named, methods, tensor is not None)
    return custom(value)


def _check_own(
    what: str, value: Any, named: Mapping[str, object], methods: tuple[str, ...], tensors: bool
) -> None:
    """Raises LigflowError for an object without what a caller's own needs, or under a name of ligflow's."""
    name = getattr(value, "name", None)
    has_methods = all(callable(getattr(value, method, None)) for method in methods)
    if isinstance(value, type) or not has_methods or not isinstance(name, str) or not name.isprintable():
        needs = " and ".join(f"{method}()" for method in methods)
        raise LigflowError(
            f"{what} is {value!r}; give a name, of {', '.join(named)}, {'a tensor, ' if tensors else ''}"
            f"or an object of your own with a name and {needs}."
        )
    if name in RESERVED or not name:
        raise LigflowError(
            f"{what} is an object with the name {name!r}, which would be read as ligflow's; of those "
            f"it takes {', '.join(named)}. Give your own another name."
        )


def _tensor(value: Any) -> Tensor:
    """A tensor as it is, an array as a tensor."""
    if isinstance(value, Tensor):
        return value
    try:
        return torch.tensor(np.ascontiguousarray(value), device="cpu")
    except TypeError as error:
        raise LigflowError(f"A baseline array of {value.dtype} cannot be used; pass numbers.") from error
