"""The rules a caller chooses from, `adaptive`, `fine` or one of fixed nodes; each certifies its integrals.

Every integral has a known answer for its sum: `sum_k IG_k = total` (completeness [sundararajan2017]), so that
each says of each of its scalars whether it met the tolerance.

A rule is a small frozen object with a `name`, its word in the header of a flow, and `integrate`. A new one is
one more class.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.method.adaptive_quadrature import AdaptiveIntegration
from ligflow.method.baselines import Held
from ligflow.method.fine_quadrature import fine
from ligflow.method.integral import Integral, Integrand, sums_of
from ligflow.method.quadrature_rules import Rule, fixed_rule
from ligflow.names import MAX_NODES, TOL

_AT_ONCE = 64  # nodes of a fixed rule that are evaluated together


@runtime_checkable
class Quadrature(Protocol):
    """A rule that integrates over the path."""

    @property
    def name(self) -> str:
        """Its word in the header of a flow."""

    def integrate(
        self,
        integrand: Integrand,
        total: Float[Tensor, "target scalar"],
        scale: Float[Tensor, "target scalar"],
        tol: float = TOL,
        max_nodes: int = MAX_NODES,
    ) -> Integral:
        """`∫_0^1 integrand da` for every target, to `tol * scale` in estimate and in completeness.

        `integrand(nodes, targets)` takes path points in (0, 1] and indices of targets; `total` is the
        known sum over sources. A target stops when it has converged, when it has used `max_nodes` nodes
        or more (a round of refinement is completed, so the last one may go beyond), or when nothing is
        left to divide (a jump of F: its completeness error stays, and `met` is False).
        """


@dataclass(frozen=True)
class Adaptive:
    """Nested Gauss-Patterson rules on panels, refined where they have not converged [patterson1968]."""

    name = "adaptive"

    def integrate(
        self,
        integrand: Integrand,
        total: Float[Tensor, "target scalar"],
        scale: Float[Tensor, "target scalar"],
        tol: float = TOL,
        max_nodes: int = MAX_NODES,
    ) -> Integral:
        """To `tol * scale`, with at most about `max_nodes` path points a target."""
        return AdaptiveIntegration(integrand, total, scale, tol, max_nodes).run()


@dataclass(frozen=True)
class Fine:
    """Equal panels, halved until their halves agree: slow, and independent of the adaptive rule."""

    name = "fine"

    def integrate(
        self,
        integrand: Integrand,
        total: Float[Tensor, "target scalar"],
        scale: Float[Tensor, "target scalar"],
        tol: float = TOL,
        max_nodes: int = MAX_NODES,
    ) -> Integral:
        """To a small part of `tol * scale`; `max_nodes` is not heeded."""
        sums = sums_of(integrand)
        halved = fine(lambda nodes, targets: integrand(nodes.to(total), targets), total, scale, tol, sums)
        value = halved.value if sums is None else sums(halved.value)
        met = ((value.sum(-1) - total).abs() <= tol * scale) & (halved.error <= tol * scale)
        parts = None if sums is None else halved.value
        divided = torch.ones_like(met[:, 0])
        return Integral(value, halved.error, halved.nodes, met, divided, parts, halved.parts_error)


@dataclass(frozen=True)
class Fixed:
    """The same nodes and weights for every target: `gauss-legendre:n`, `midpoint:n`, ... (`fixed_rule`)."""

    name: str

    def integrate(
        self,
        integrand: Integrand,
        total: Float[Tensor, "target scalar"],
        scale: Float[Tensor, "target scalar"],
        tol: float = TOL,
        max_nodes: int = MAX_NODES,
    ) -> Integral:
        """`sum_s w_s integrand(a_s)`. Raises LigflowError for an unknown rule."""
        rule = fixed_rule(self.name)
        targets = torch.arange(len(total), device=total.device)
        parts, sums = _weighted(integrand, rule, targets, total), sums_of(integrand)
        value = parts if sums is None else sums(parts)
        met = (value.sum(-1) - total).abs() <= tol * scale
        nodes = torch.full_like(targets, len(rule.nodes))
        divided = torch.ones_like(targets, dtype=torch.bool)
        none = torch.zeros_like(total)
        if sums is None:
            return Integral(value, none, nodes, met, divided)
        return Integral(value, none, nodes, met, divided, parts, none)


class CheckedQuadrature(Held):
    """A caller's own rule; what it returns is checked."""

    @property
    def name(self) -> str:
        """The name of the caller's object."""
        return str(self.content.name)

    def integrate(
        self,
        integrand: Integrand,
        total: Float[Tensor, "target scalar"],
        scale: Float[Tensor, "target scalar"],
        tol: float = TOL,
        max_nodes: int = MAX_NODES,
    ) -> Integral:
        """What the object says. Raises LigflowError for what is no `Integral`."""
        integral = self.content.integrate(integrand, total, scale, tol, max_nodes)
        if not isinstance(integral, Integral):
            raise LigflowError(
                f"The quadrature {self.name!r} returned {type(integral).__name__}; return "
                "ligflow.method.integral.Integral."
            )
        return integral


def _weighted(
    integrand: Integrand, rule: Rule, targets: Tensor, like: Tensor
) -> Float[Tensor, "target scalar source"]:
    """The sum of a rule, a few nodes at a time."""
    value: Tensor | None = None
    for nodes, weights in zip(rule.nodes.split(_AT_ONCE), rule.weights.split(_AT_ONCE), strict=True):
        values = integrand(nodes.to(like), targets)
        part = torch.einsum("s,stgk->tgk", weights.to(values), values)
        value = part if value is None else value.add_(part)
    assert value is not None
    return value
