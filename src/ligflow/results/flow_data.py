"""The labelled maps of one example, each cell with its certificate.

Rows are targets and columns are sources, everywhere: `flow.z2z[layer, target, source]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.method.attention_parts import PARTS
from ligflow.method.composition import Composition, HeadMaps, compose, composition_rule, product
from ligflow.results.cells import Cell, RoutingChange
from ligflow.results.edge_parts import EdgeParts

DIMS = {
    "z2u": ("layer", "head", "target", "source"),
    "z2u_value": ("layer", "head", "target", "source"),
    "z2u_key": ("layer", "head", "target", "source"),
    "z2u_query": ("layer", "head", "target", "source"),
    "u2z": ("layer", "head", "target"),
    "u2z_residual": ("layer", "target"),
    "z2z": ("layer", "target", "source"),
    "z2z_heads": ("layer", "head", "target", "source"),
    "z2z_mlp": ("layer", "head", "target", "source"),
    "z2z_residual": ("layer", "target"),
    "z2z_residual_mlp": ("layer", "target"),
    "e2u": ("layer", "cross_head", "target", "memory"),
    "e2u_value": ("layer", "cross_head", "target", "memory"),
    "e2u_key": ("layer", "cross_head", "target", "memory"),
    "e2u_query": ("layer", "cross_head", "target", "memory"),
    "u2z_cross": ("layer", "cross_head", "target"),
    "z2z_cross": ("layer", "target", "memory"),
    "z2z_cross_heads": ("layer", "cross_head", "target", "memory"),
    "z2z_cross_mlp": ("layer", "cross_head", "target", "memory"),
}
CELL_DIMS = {
    "z2u": ("layer", "head", "target"),
    "u2z": ("layer", "target"),
    "z2z": ("layer", "target"),
    "e2u": ("layer", "cross_head", "target"),
}
SPLIT = ("z2z_heads", "z2z_mlp", "z2z_residual", "z2z_residual_mlp")
CROSS_SPLIT = ("z2z_cross_heads", "z2z_cross_mlp")
SPLIT_ERROR = "z2z_heads.error"
CELL_PARTS = ("total", "scale", "residue", "error", "origin", "met")
AnyFlow = TypeVar("AnyFlow", bound="FlowData")  # what gives a new flow gives one of the same class


@dataclass(frozen=True, eq=False, repr=False)
class FlowData:
    """Signed attributions inside the layers of one example.

    | attribute | shape | what |
    |---|---|---|
    | `z2u` | layer head target source | attention: source token -> head output u |
    | `u2z` | layer head target | MLP: head output u -> layer output z' |
    | `u2z_residual` | layer target | the residual as a player of the MLP map (0 where it does not move) |
    | `z2z` | layer target source | the whole layer: source token -> z' |

    A decoder whose layers attend to an encoder has a second set of sources, the encoder's tokens (`memory`):

    | attribute | shape | what |
    |---|---|---|
    | `e2u` | layer cross_head target memory | second attention: encoder token -> head output u |
    | `u2z_cross` | layer cross_head target | MLP: head output u of the second attention -> z' |
    | `z2z_cross` | layer target memory | the whole layer: encoder token -> z'; sums with `z2z` to one total |

    With `parts=True` z2u and e2u are split by value, key and query: see `parts` and `cross_parts`. With
    `split=True` z2z is split by head, and by what then passes through the MLP:

    | attribute | shape | what |
    |---|---|---|
    | `z2z_heads` | layer head target source | what passes through a head |
    | `z2z_residual` | layer target | what passes beside attention, at the target itself |
    | `z2z_mlp` | layer head target source | the part of `z2z_heads` that then passes through the MLP |
    | `z2z_residual_mlp` | layer target | the part of `z2z_residual` that does |
    | `z2z_cross_heads`, `z2z_cross_mlp` | layer cross_head target memory | the same of a second attention |

    Units are those of the scalarised image, for `l2` the norm of the layer's output (u for z2u).
    `tensors` holds everything by name, as saved in a file.
    """

    tokens: list[str]
    layers: tuple[int, ...]
    targets: tuple[int, ...]
    special: tuple[bool, ...]
    tensors: Mapping[str, Tensor]
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def routes(self) -> tuple[str, ...]:
        """The routes that were computed."""
        return tuple(route for route in CELL_DIMS if f"{route}.total" in self.tensors)

    @property
    def heads(self) -> int:
        """The number of heads; 0 where no route has heads."""
        return self._size("z2u", "u2z", "z2z_heads")

    @property
    def z2u(self) -> Float[Tensor, "layer head target source"]:
        """`A_kjh`: what source k contributes to head h's output at target j."""
        return self._map("z2u")

    @property
    def parts(self) -> EdgeParts:
        """z2u by value (what was read), key (where it was found) and query (what was asked), if asked for.

        Each is `[layer, head, target, source]`; all three sum over their sources to what z2u sums to, so that
        `certificate("z2u")` is theirs. Raises LigflowError for a flow without them.
        """
        return self._parts("z2u")

    @property
    def u2z(self) -> Float[Tensor, "layer head target"]:
        """`M_hj`: what head h contributes to the layer's output at target j."""
        return self._map("u2z")

    @property
    def u2z_residual(self) -> Float[Tensor, "layer target"]:
        """`M_res,j`: what the residual contributes, where the MLP baseline moves it."""
        self._map("u2z")
        return self.tensors["u2z_residual"]

    @property
    def z2z(self) -> Float[Tensor, "layer target source"]:
        """The direct map of the whole layer."""
        return self._map("z2z")

    @property
    def z2z_heads(self) -> Float[Tensor, "layer head target source"]:
        """`E_hkj = ∫ ∂L_j/∂u_h . ∂u_h/∂z_k . step_k`: what of z2z passes through a head, its conductance.

        Summed over heads, with `z2z_residual` at the target itself, it is `z2z` [dhamdhere2018]. Raises
        LigflowError for a flow without it.
        """
        return self._of_split("z2z_heads")

    @property
    def z2z_residual(self) -> Float[Tensor, "layer target"]:
        """What of z2z passes beside attention, at the target itself; 0 from `itb`, where that stays."""
        return self._of_split("z2z_residual")

    @property
    def z2z_mlp(self) -> Float[Tensor, "layer head target source"]:
        """The part of `z2z_heads` that then passes through the MLP; the rest passes beside it."""
        return self._of_split("z2z_mlp")

    @property
    def z2z_residual_mlp(self) -> Float[Tensor, "layer target"]:
        """The part of `z2z_residual` that then passes through the MLP; the rest passes beside it."""
        return self._of_split("z2z_residual_mlp")

    @property
    def z2z_cross_heads(self) -> Float[Tensor, "layer cross_head target memory"]:
        """What of z2z_cross passes through a head of the second attention; summed over these it is that."""
        return self._of_split("z2z_cross_heads")

    @property
    def z2z_cross_mlp(self) -> Float[Tensor, "layer cross_head target memory"]:
        """The part of `z2z_cross_heads` that then passes through the MLP."""
        return self._of_split("z2z_cross_mlp")

    @property
    def split_error(self) -> Float[Tensor, "layer target"]:
        """The estimated L1 error of all parts of a target's row of z2z, relative as its certificate.

        Parts may be off by amounts that cancel in their sum, which z2z's certificate is about. An order of
        magnitude, no bound; 0 for fixed rules, which estimate nothing.
        """
        return self._of_split(SPLIT_ERROR) / self._cell("z2z", "scale")

    @property
    def memory(self) -> list[str]:
        """The encoder's tokens that the layers attend to; none where they have no second attention."""
        return list(self.meta.get("memory", ()))

    @property
    def cross_heads(self) -> int:
        """The number of heads of the second attention; 0 where there is none or no route has heads."""
        return self._size("e2u", "u2z_cross", "z2z_cross_heads")

    def _size(self, *names: str) -> int:
        """The number of heads of the first of these that is there, 0 if none is."""
        return next((self.tensors[name].shape[1] for name in names if name in self.tensors), 0)

    @property
    def e2u(self) -> Float[Tensor, "layer cross_head target memory"]:
        """What encoder token m contributes to the output of head h of the second attention at target j."""
        return self._map("e2u")

    @property
    def cross_parts(self) -> EdgeParts:
        """e2u by value and key of the encoder's tokens; queries stay on their path, and have 0.

        Each is `[layer, cross_head, target, memory]`, and they sum over it to what e2u sums to. Raises
        LigflowError for a flow without them.
        """
        return self._parts("e2u")

    @property
    def u2z_cross(self) -> Float[Tensor, "layer cross_head target"]:
        """What head h of the second attention contributes to the layer's output at target j."""
        return self._map("u2z_cross")

    @property
    def z2z_cross(self) -> Float[Tensor, "layer target memory"]:
        """What encoder tokens contribute to the whole layer, beside the tokens in `z2z`."""
        return self._map("z2z_cross")

    def total(self, route: str) -> Float[Tensor, "layer *head target"]:
        """`||F(1) - F(0)||` (or its projection or direction): what the sources of a cell sum to."""
        return self._cell(route, "total")

    def certificate(self, route: str) -> Float[Tensor, "layer *head target"]:
        """Signed relative completeness error, `(sum IG - total) / scale`.

        `scale` is the total, or 1000 machine epsilons of the layer's output where that is more; for
        a direction v it is `||v|| ||F(1) - F(0)||`, which does not cancel.
        """
        return self._cell(route, "residue") / self._cell(route, "scale")

    def estimated_error(self, route: str) -> Float[Tensor, "layer *head target"]:
        """The quadrature's estimate of a cell's L1 error, relative as the certificate; 0 for fixed rules."""
        return self._cell(route, "error") / self._cell(route, "scale")

    def nodes(self, route: str) -> Int[Tensor, "layer target"]:
        """Path points that each target took."""
        self._cell(route, "total")
        return self.tensors[f"{route}.nodes"]

    def origin_mass(self, route: str) -> Float[Tensor, "layer *head target"]:
        """`(L(1e-6) - L(0)) / scale`: large where a norm jumps at a zero baseline, 0 where the path is tame.

        It can pass 1, since L may rise above its end and come back.
        """
        return self._cell(route, "origin") / self._cell(route, "scale")

    def hidden(self, route: str) -> Float[Tensor, "layer *head target"]:
        """What sources that are hidden from this view contribute; 0 for a flow that shows all."""
        total = self._cell(route, "total")
        return self.tensors.get(f"{route}.hidden", torch.zeros_like(total))

    @property
    def unmet(self) -> list[Cell]:
        """The cells whose certificate or estimate misses the tolerance."""
        return [cell for route in self.routes for cell in self._unmet(route)]

    @property
    def routing_changes(self) -> list[RoutingChange]:
        """The targets of a mixture of experts whose experts change on the path, where F jumps.

        No gradient sees a jump: the certificate misses what L jumps by, which can be much less than F does,
        so that a row may be met all the same. Empty with `experts="frozen"`.
        """
        return [change for route in self.routes for change in self._routing_changes(route)]

    def worst_certificate(self) -> float:
        """The largest |certificate| of all cells."""
        return max(float(self.certificate(route).abs().max()) for route in self.routes)

    def composed(self, rule: str | Composition = "conserving") -> Float[Tensor, "layer target source"]:
        """z2u and u2z composed into a map of the layer, `conserving`, `product` or by a rule of your own.

        See `ligflow.method.composition`.
        """
        rule = composition_rule(rule)
        stored = self.tensors.get(f"composed.{rule.name}")
        if stored is not None:
            return stored
        z2u, residual = self.z2u, self.u2z_residual
        if self.memory:
            of_memory = rule.shares(self._memory_maps())[1]
            residual = residual if of_memory is None else residual + of_memory
        sums = z2u.sum(-1) + self.hidden("z2u")
        maps = _head_maps(z2u, self.u2z, residual, self.tensors["z2u.floor"], sums)
        return compose(rule, maps, torch.tensor(self.targets, device=z2u.device))

    def composed_cross(self, rule: str | Composition = "conserving") -> Float[Tensor, "layer target memory"]:
        """e2u and u2z_cross composed: the part of the layer's composed map that the encoder's tokens have."""
        rule = composition_rule(rule)
        stored = self.tensors.get(f"composed_cross.{rule.name}")
        if stored is not None:
            return stored
        maps = self._memory_maps()
        return product(rule.shares(maps)[0], maps.u2z)

    def _memory_maps(self) -> HeadMaps:
        """What the heads of the second attention read and write."""
        residual = torch.zeros_like(self.u2z_residual)
        sums = self.e2u.sum(-1) + self.hidden("e2u")
        return _head_maps(self.e2u, self.u2z_cross, residual, self.tensors["e2u.floor"], sums)

    def row(self, layer: int) -> int:
        """Where a layer of the model stands on the layer axis."""
        if layer not in self.layers:
            raise LigflowError(f"Layer {layer} is not in this flow, which holds {list(self.layers)}.")
        return self.layers.index(layer)

    def __repr__(self) -> str:
        settings = self.meta.get("settings", {})
        count = len(self.unmet)
        met = (
            f"all cells within {settings.get('tol')}"
            if not count
            else f"{count} cells miss {settings.get('tol')}"
        )
        routes = "+".join(self.routes) + (" by head" if "z2z_heads" in self.tensors else "")
        return (
            f"{type(self).__name__}({len(self.tokens)} tokens, {len(self.targets)} targets, "
            f"layers {_span(self.layers)}, "
            f"{self.heads} heads, routes {routes}, model {self.meta.get('model')!r}, "
            f"worst |certificate| {self.worst_certificate():.1e}, {met})"
        )

    def _map(self, route: str) -> Tensor:
        if route not in self.tensors:
            ask = f"ask for it: explain(..., routes=({route!r},))"
            if route == "e2u":
                ask = "it comes with z2u where layers attend to an encoder: Explainer(model, stack='decoder')"
            raise LigflowError(f"This flow holds {', '.join(self.routes)}, not {route}; {ask}.")
        return self.tensors[route]

    def _parts(self, route: str) -> EdgeParts:
        names = [f"{route}_{part}" for part in PARTS]
        if names[0] in self.tensors:
            return EdgeParts(*(self.tensors[name] for name in names))
        self._map(route)
        raise LigflowError(f"This flow holds no parts of {route}; ask for them: explain(..., parts=True).")

    def _of_split(self, name: str) -> Tensor:
        if name in self.tensors:
            return self.tensors[name]
        self._map("z2z_cross" if name.startswith("z2z_cross") else "z2z")
        raise LigflowError(f"This flow holds no {name}; ask for it: explain(..., split=True).")

    def _cell(self, route: str, part: str) -> Tensor:
        if route in ("composed", "conserving", "product"):
            raise LigflowError(
                f"A {route} map is made of z2u and u2z and has no sum of its own; ask for their certificates."
            )
        if route not in CELL_DIMS:
            raise LigflowError(f"Unknown route {route!r}; choose from {', '.join(CELL_DIMS)}.")
        self._map(route)
        return self.tensors[f"{route}.{part}"]

    def _unmet(self, route: str) -> list[Cell]:
        certificate, error = self.certificate(route), self.estimated_error(route)
        return [
            self._describe(route, tuple(index), float(certificate[tuple(index)]), float(error[tuple(index)]))
            for index in (~self._cell(route, "met").bool()).nonzero().tolist()
        ]

    def _routing_changes(self, route: str) -> list[RoutingChange]:
        if f"{route}.jump" not in self.tensors:
            return []
        jump, certificate = self._cell(route, "jump"), self.certificate(route)
        relative, met = jump / self._cell(route, "scale"), self._cell(route, "met").bool()
        return [
            RoutingChange(
                route, self.layers[row], self.targets[place], self.tokens[self.targets[place]],
                float(relative[row, place]), float(certificate[row, place]), bool(met[row, place]),
            )
            for row, place in jump.nonzero().tolist()
        ]  # fmt: skip

    def _describe(self, route: str, index: tuple[int, ...], certificate: float, error: float) -> Cell:
        head = index[1] if len(index) == 3 else None
        target = self.targets[index[-1]]
        return Cell(route, self.layers[index[0]], head, target, self.tokens[target], certificate, error)


def _span(layers: tuple[int, ...]) -> str:
    if len(layers) > 2 and layers == tuple(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}-{layers[-1]}"
    return ",".join(map(str, layers))


def _head_maps(z2u: Tensor, u2z: Tensor, residual: Tensor, floor: Tensor, sums: Tensor) -> HeadMaps:
    return HeadMaps(z2u, u2z, residual, sums, floor[..., None].expand(z2u.shape[:-1]))
