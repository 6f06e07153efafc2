"""One recorded layer: a route of it alone, without the work around it, and the totals of its maps."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

import measure
from ligflow import Explainer
from ligflow.devices.precision import exact_mode
from ligflow.layer.float64 import keep_double
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.method.baselines import Itb
from ligflow.routes import autograd
from ligflow.routes.attribution import Attribution
from ligflow.routes.explain_layer import explain_layer
from ligflow.routes.workspace import Selection
from ligflow.settings import ask


@dataclass(frozen=True, eq=False)
class OneLayer:
    """A layer on one example, all of whose tokens are targets."""

    explainer: Explainer
    layer: Layer

    def __post_init__(self) -> None:
        if self.layer.mode == "whole":
            raise SystemExit(f"Layer {self.layer.index} cannot be split: {self.layer.findings.reason}")

    @property
    def tokens(self) -> Tensor:
        return torch.arange(len(self.layer.hidden), device=self.layer.hidden.device)

    def attribute(self, route: str, baseline: str, quadrature: str = "adaptive") -> Attribution:
        """The route's work alone. `baseline` is that of the route."""
        named = {"z2u": "att_baseline", "u2z": "mlp_baseline", "z2z": "layer_baseline"}
        settings = ask(routes=(route,), quadrature=quadrature, **{named[route]: baseline})  # type: ignore[arg-type]
        model = self.explainer.model
        with exact_mode(model.device), prepared(self.layer.module, self.layer.implementation):
            return explain_layer(self.layer, settings, Selection(self.tokens, self.tokens))[route]

    def every_route(self) -> object:
        """The work of the three routes alone, with all that they share."""
        model = self.explainer.model
        with exact_mode(model.device), prepared(self.layer.module, self.layer.implementation):
            return explain_layer(self.layer, ask(), Selection(self.tokens, self.tokens))

    def ends(self, route: str) -> tuple[Float[Tensor, "target scalar"], Float[Tensor, "target scalar"]]:
        """`total = ||F_j(z) - F_j(z(0))||` under `itb`, by two forward passes in float64, and the scale of
        its relative errors: the total, but at least what float32 can tell from 0 in this layer.
        """
        model = self.explainer.model
        with exact_mode(model.device), prepared(self.layer.module, self.layer.implementation), keep_double():
            layer = self.layer.in_double()
            start = Itb().start(layer.hidden, self.tokens)
            made = autograd.z2u(layer, start) if route == "z2u" else autograd.z2z(layer, start)
            first, last = made.image(torch.tensor([0.0, 1.0], device=self.tokens.device), self.tokens)
        total = (last - first).norm(dim=-1).cpu()
        size = last.norm(dim=-1).square().mean(0).sqrt().cpu()
        return total, total.maximum(1000 * torch.finfo(torch.float32).eps * size)

    def measured(self, example: str, route: str, repeats: int) -> measure.Row:
        """Seconds of the whole `explain` call and of the route alone, and the errors of the map."""

        def explain() -> object:
            return self.explainer.explain(example, routes=(route,), layers=[self.layer.index])

        def route_alone() -> Attribution:
            return self.attribute(route, "itb")

        whole, part = measure.medians([explain, route_alone], self.layer.hidden.device, repeats)
        error = measure.completeness(route_alone().value.sum(-1), *self.ends(route))
        return {"ligflow_seconds": whole, "ligflow_route_seconds": part, "ligflow_error": error}


def record(explainer: Explainer, example: str | Mapping[str, Tensor], index: int) -> OneLayer:
    return OneLayer(explainer, explainer.prepared.record(example)[index])
