"""Nodes and weights alone: fixed rules on [0, 1] by name, and the nested ones [patterson1968]."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError

FIXED_RULES = ("gauss-legendre", "midpoint", "trapezoid", "captum")
_MAX_FIXED = 100_000


@dataclass(frozen=True, eq=False)
class Rule:
    """Nodes and weights on [0, 1]."""

    nodes: Float[Tensor, " node"]
    weights: Float[Tensor, " node"]


def fixed_rule(name: str) -> Rule:
    """The rule called `gauss-legendre:n`, `midpoint:n`, `trapezoid:n` or `captum:n`, `sum_s w_s f(a_s)`.

    `captum:n` is the published setting: n equally spaced points from 0 to 1, weights 1/n with the
    two ends halved, so that the weights sum to `(n - 1)/n` [kokhlikyan2020].
    """
    kind, _, count = name.partition(":")
    least = 2 if kind in ("trapezoid", "captum") else 1
    if kind not in FIXED_RULES or not _is_number(count) or not least <= int(count) <= _MAX_FIXED:
        known = ", ".join(f"'{rule}:n'" for rule in FIXED_RULES)
        raise LigflowError(
            f"Unknown quadrature {name!r}: use 'adaptive' or {known} "
            f"with a whole number n, at least 1 (2 for trapezoid and captum), e.g. 'gauss-legendre:16'."
        )
    return _RULES[kind](int(count))


def _is_number(count: str) -> bool:
    """Digits that `int` reads; not those of other scripts, exponents (²), or thousands of them."""
    return count.isascii() and count.isdecimal() and len(count) < 10


def _gauss_legendre(count: int) -> Rule:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return Rule(torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2))


def _midpoint(count: int) -> Rule:
    nodes = (torch.arange(count, dtype=torch.float64, device="cpu") + 0.5) / count
    return Rule(nodes, torch.full((count,), 1 / count, dtype=torch.float64, device="cpu"))


def _trapezoid(count: int) -> Rule:
    return Rule(_even(count), _halved_ends(count) / (count - 1))


def _captum(count: int) -> Rule:
    return Rule(_even(count), _halved_ends(count) / count)


def _even(count: int) -> Tensor:
    return torch.linspace(0, 1, count, dtype=torch.float64, device="cpu")


def _halved_ends(count: int) -> Tensor:
    weights = torch.ones(count, dtype=torch.float64, device="cpu")
    weights[[0, -1]] = 0.5
    return weights


_RULES = {
    "gauss-legendre": _gauss_legendre,
    "midpoint": _midpoint,
    "trapezoid": _trapezoid,
    "captum": _captum,
}

# Positive abscissae of the nested rules on [-1, 1], the new ones of each level [patterson1968].
_PATTERSON = (
    (),
    (0.774596669241483377,),
    (0.960491268708020283, 0.434243749346802558),
    (0.993831963212755022, 0.888459232872256998, 0.621102946737226402, 0.223386686428966881),
    (
        0.999098124967667597, 0.981531149553740106, 0.929654857429740056, 0.836725938168868735,
        0.702496206491527078, 0.531319743644375623, 0.331135393257976833, 0.112488943133186625,
    ),
)  # fmt: skip
LEVELS = len(_PATTERSON)


def patterson_nodes(level: int) -> Float[np.ndarray, " node"]:
    """The `2^(level+1) - 1` nodes of a level on [-1, 1], in the order in which levels add them."""
    added = [np.zeros(1)] + [np.concatenate([[x, -x] for x in new]) for new in _PATTERSON[1 : level + 1]]
    return np.concatenate(added)


def patterson_weights(level: int) -> Float[np.ndarray, " node"]:
    """The interpolatory weights on [-1, 1]: `sum_s w_s P_n(x_s) = 2 [n = 0]` for Legendre polynomials P_n."""
    nodes = patterson_nodes(level)
    moments = np.zeros(len(nodes))
    moments[0] = 2
    vandermonde = np.polynomial.legendre.legvander(nodes, len(nodes) - 1)
    return np.linalg.solve(vandermonde.T, moments)
