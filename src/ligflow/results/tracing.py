"""Relevance followed across layers: from a token after a layer down to the input.

In each layer a token's relevance is handed to its sources in the shares of its row,

    R_i(l) = sum_j S_ji R_j(l + 1),     S_ji = C_ij / sum_k C_kj,

so that the sum over tokens stays what it was, by construction. A row that did not move, or that cancels,
hands its relevance to the token itself. This is relevance propagation [bach2015] with the conserving maps of
layer-wise integrated gradients [suzuki2026] as its rule. What the integrals leave open is estimated in
`errors`.

Where starts are carried (`explain(carried=True)`) no row is divided by its own sum: what a layer shares out
at j is then by how much j moved in the layer above, and

    S_ji = C_ij / T_j,     T_j = L(F(z)_j - F(z(0))_j), by l2 |z'_j - z'_j(0)|

sums to 1 by completeness, within the error of the integrals, which the sum of relevance shows.

Maps whose self term is 0 by definition (`itb`) cannot be chained: they leave out what a token keeps of
itself. Neither can maps without hidden tokens, whose relevance would be lost. Merged words can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ligflow import names
from ligflow.errors import LigflowError
from ligflow.extras import need
from ligflow.inputs.token_names import token_position
from ligflow.method.baselines import Mean
from ligflow.method.composition import shared_out
from ligflow.method.from_names import ATT_BASELINES
from ligflow.results import strongest_paths
from ligflow.results.carriers import carried
from ligflow.results.flow_data import FlowData

if TYPE_CHECKING:
    import networkx
    import pandas

BASELINES: Mapping[str, Mapping[str, Any]] = {
    "mean": {"routes": ("z2u", "u2z", "z2z"), "att_baseline": "mean", "mlp_baseline": "matched",
             "layer_baseline": "mean"},
    "zero": {"routes": ("z2u", "u2z", "z2z"), "att_baseline": "zero", "mlp_baseline": "matched",
             "layer_baseline": "zero"},
    "itb_zero_ratio": {"routes": ("z2z",), "layer_baseline": "itb_zero_ratio"},
    "carried": {"routes": ("z2u", "u2z", "z2z"), "att_baseline": "mean", "mlp_baseline": "matched",
                "layer_baseline": "mean", "carried": True},
}  # fmt: skip
MAPS = tuple(names.TRACED.values())
_ROUTES = {"composed": ("z2u", "u2z"), "z2z": ("z2z",)}


@dataclass(frozen=True)
class Edge:
    """What target `target` after `layer` hands to source `source` before it."""

    layer: int
    target: int
    source: int
    relevance: float


@dataclass(frozen=True, eq=False)
class Trace:
    """Relevance of every token at every depth. Depth 0 is after `layers[0]`, depth s before `layers[s - 1]`.

    `relevance` sums to 1 at every depth, `shares[s, j, i]` is what token j hands to token i on the way from
    depth s to s + 1. `errors[s]` is the estimated L1 error of the relevance at depth s (0 at the top): the
    errors of the rows' shares, weighted by relevance, added up and handed down like relevance, without signs.

    `certificates[s]` is `sum_j |R_j| |residue_j| / |total_j|`, the worst of the heads of a row: by how much
    the sums of the rows at depth s are off. For norms that is the certificate; for a direction, whose total
    may cancel, it can be much more. `still` counts the rows with relevance that kept it, since their sum is
    nothing, or next to nothing beside what it sums. `heads[s]` is the relevance that each head hands down on
    the way from depth s to s + 1, what passes attention last, where maps by head are traced (`split`).

    Where starts are carried, `amount` is by how much the token moved from its start in its last layer (by l2
    the norm of that change): relevance times it is an amount. Relevance sums to 1 at depth 0, and further
    down within `errors`.
    """

    tokens: tuple[str, ...]
    token: int
    layers: tuple[int, ...]
    relevance: Float[Tensor, "depth token"]
    shares: Float[Tensor, "step target source"]
    certificates: Float[Tensor, " step"]
    unmet: int
    errors: Float[Tensor, " depth"]
    still: int
    heads: Float[Tensor, "step carrier"] | None = None
    amount: float | None = None

    @property
    def input(self) -> Float[Tensor, " token"]:
        """What each input token contributes."""
        return self.relevance[-1]

    @property
    def drift(self) -> float:
        """How far the sum of relevance is from 1 at any depth: rounding, or with carried starts an error."""
        return float((self.relevance.sum(-1) - 1).abs().max())

    def paths(
        self, count: int = 5, sign: str = "absolute", *, fewer: bool = False
    ) -> list[strongest_paths.TokenPath]:
        """The strongest paths from the token down to the input: largest product of shares, exactly.

        `sign` is `absolute`, `positive` or `negative`. Raises LigflowError if there are fewer, unless they
        will do.
        """
        return strongest_paths.strongest(list(self.shares), self.token, count, sign, fewer=fewer)

    def edges(self, threshold: float = 0.0) -> list[Edge]:
        """The edges that carry at least `threshold` of the relevance, in magnitude, from the top down."""
        if not 0 <= threshold < 1:
            raise LigflowError(f"threshold is {threshold}; give a share of the relevance from 0 to below 1.")
        flows = self.relevance[:-1, :, None] * self.shares
        kept = ((flows.abs() >= threshold) & (flows != 0)).nonzero().tolist()
        return [Edge(self.layers[s], j, i, float(flows[s, j, i])) for s, j, i in kept]

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each depth and token: after_layer (None: the input), token, label, relevance."""
        need("tables", "A table")
        import pandas

        depths = [*self.layers, None]
        rows = [
            (depth, token, self.tokens[token], float(self.relevance[place, token]))
            for place, depth in enumerate(depths)
            for token in range(len(self.tokens))
        ]
        frame = pandas.DataFrame(rows, columns=["after_layer", "token", "label", "relevance"])
        return frame.astype({"after_layer": "Int64"})

    def to_networkx(self, threshold: float = 0.0) -> networkx.DiGraph:
        """Nodes `"depth:token"` with their relevance; edges from source to target with theirs in `weight`."""
        need("tables", "A graph")
        import networkx

        graph = networkx.DiGraph(token=self.token, layers=",".join(map(str, self.layers)))
        for depth, token in self.relevance.nonzero().tolist():
            graph.add_node(
                f"{depth}:{token}", depth=depth, token=token, label=self.tokens[token],
                relevance=float(self.relevance[depth, token]),
            )  # fmt: skip
        for edge in self.edges(threshold):
            depth = self.layers.index(edge.layer)
            graph.add_edge(f"{depth + 1}:{edge.source}", f"{depth}:{edge.target}", weight=edge.relevance)
        return graph


def trace(
    flow: FlowData,
    token: int | str,
    layer: int | None = None,
    which: str = "composed",
    top: FlowData | None = None,
) -> Trace:
    """Follows a token after layer `layer` (by default the last of the flow) down to its first layer.

    `token` is its position, or what it says (see `token_positions`). `which` is the map that is chained:
    `composed` (conserving) or `z2z`. `top` is a flow of that layer whose first step is taken from it, for
    example under a `direction`; the other layers are those of `flow`.

    Raises LigflowError for a token or layer that is not there, layers that do not follow each other, targets
    that were not explained, hidden tokens, and for baselines whose maps cannot be chained.
    """
    layer = flow.layers[-1] if layer is None else layer
    flow.row(layer)
    count = len(flow.tokens)
    token = token_position(token, flow.tokens)
    layers = _down(flow, layer)
    sources = [top if top is not None and depth == 0 else flow for depth in range(len(layers))]
    _check(sources, layers, token, which)
    steps = [_step(source, number, which) for source, number in zip(sources, layers, strict=True)]
    shares = torch.stack([step.shares for step in steps])
    depths = [torch.eye(count, dtype=torch.float64, device="cpu")[token]]
    for share in shares:
        depths.append(depths[-1] @ share)
    relevance = torch.stack(depths)
    certificates = (relevance[:-1].abs() * torch.stack([step.certificate for step in steps])).sum(-1)
    unmet = sum(_unmet(source, number, which) for source, number in zip(sources, layers, strict=True))
    still = sum(int((step.still & (at != 0)).sum()) for step, at in zip(steps, relevance[:-1], strict=True))
    errors = _errors(relevance, steps)
    heads = None
    if which == "z2z" and all("z2z_heads" in source.tensors for source in sources):
        places = zip(sources, layers, relevance[:-1], steps, strict=True)
        heads = torch.stack([carried(source, number, at, step.still) for source, number, at, step in places])
    amount = _amount(sources[0], layer, token, which) if _is_carried(flow) else None
    return Trace(
        tuple(flow.tokens),
        token,
        layers,
        relevance,
        shares,
        certificates,
        unmet,
        errors,
        still,
        heads,
        amount,
    )


def _is_carried(flow: FlowData) -> bool:
    return bool(flow.meta.get("settings", {}).get("carried", False))


def _amount(flow: FlowData, layer: int, token: int, which: str) -> float:
    """What the first step shares out: the total of the token's row."""
    return float(flow.total(_ROUTES[which][-1])[flow.row(layer), list(flow.targets).index(token)])


def _errors(relevance: Float[Tensor, "depth token"], steps: Sequence[_Step]) -> Float[Tensor, " depth"]:
    """The estimated L1 error of the relevance at every depth.

    An error of shares is taken to lie where the shares do: `e(l) = |S|ᵀ (e(l + 1) + |R| error / ‖S‖₁)`, that
    of a row without any at its token.
    """
    apart = torch.zeros_like(relevance)
    for depth, step in enumerate(steps):
        size = step.shares.abs()
        own = torch.eye(len(size), dtype=size.dtype, device=size.device)
        size = torch.where(size.sum(-1, keepdim=True) > 0, size, own)
        here = relevance[depth].abs() * step.error / size.sum(-1)
        apart[depth + 1] = (apart[depth] + here) @ size
    return apart.sum(-1)


def _down(flow: FlowData, layer: int) -> tuple[int, ...]:
    """The layers from `layer` down to the first, without a gap."""
    layers = [number for number in flow.layers if number <= layer]
    if layers != list(range(layers[0], layer + 1)):
        raise LigflowError(
            f"A trace needs layers that follow each other, and this flow holds {layers}; explain all of "
            f"{layers[0]} to {layer}."
        )
    return tuple(reversed(layers))


def _check(sources: Sequence[FlowData], layers: Sequence[int], token: int, which: str) -> None:
    if which not in MAPS:
        raise LigflowError(f"Unknown map {which!r}; choose from {', '.join(MAPS)}.")
    for depth, (flow, layer) in enumerate(zip(sources, layers, strict=True)):
        flow.row(layer)
        if flow.tokens != sources[-1].tokens:
            raise LigflowError("The flow of the top layer has other tokens.")
        below = sources[-1]
        if _is_carried(flow) != _is_carried(below) or (
            _is_carried(below) and flow.layers[0] != below.layers[0]
        ):
            raise LigflowError(
                "The flow of the top layer starts elsewhere than where the layers below carry their start; "
                "explain the same layers for both, with carried=True."
            )
        if hidden := flow.meta.get("hidden_tokens"):
            raise LigflowError(
                f"This flow is without {len(hidden)} hidden tokens, and a trace would lose what they hold; "
                "trace the flow of all tokens."
            )
        if flow.memory:
            raise LigflowError(
                "These layers attend to an encoder, to whose tokens relevance leaves in every layer; a trace "
                "follows one list of tokens. Read the maps of single layers instead."
            )
        for route in _ROUTES[which]:
            flow._map(route)
            if flow.hidden(route).any():
                raise LigflowError(
                    f"Padding takes part in the {route} maps of this flow, and a trace would lose what it "
                    "holds; explain inputs without padding."
                )
        wanted = [token] if depth == 0 else range(len(flow.tokens))
        if not {*wanted} <= {*flow.targets}:
            raise LigflowError(
                f"A trace needs every token as a target of layer {layer}, and this flow has "
                f"{len(flow.targets)} of {len(flow.tokens)}; explain all targets."
            )
        _check_chained(flow, which)


def _check_chained(flow: FlowData, which: str) -> None:
    """Raises LigflowError where the maps leave out what a token keeps of itself."""
    settings = flow.meta.get("settings", {})
    names = ("att_baseline", "mlp_baseline") if which == "composed" else ("layer_baseline",)
    words = tuple(str(settings.get(name)) for name in names)
    # a tensor, or a baseline of the caller's own, has self terms as the mean has
    baseline = ATT_BASELINES.get(words[0], Mean())
    composed = words[-1] == "matched" and baseline.path.has_self_term  # the residual is a player
    if not (composed if which == "composed" else baseline.has_self_term):
        listed = ", ".join(f"{name} {value!r}" for name, value in zip(names, words, strict=True))
        raise LigflowError(
            f"Maps of {listed} cannot be chained: they leave out what a token keeps of itself from layer to "
            "layer (the residual does not move). Explain with att_baseline='mean', mlp_baseline='matched', "
            "or chain z2z with layer_baseline 'mean', 'zero' or 'itb_zero_ratio'."
        )


@dataclass(frozen=True, eq=False)
class _Step:
    """A layer's shares over all tokens: their L1 errors, what their sums miss, which rows did not move."""

    shares: Float[Tensor, "target source"]
    error: Float[Tensor, " target"]
    certificate: Float[Tensor, " target"]
    still: Bool[Tensor, " target"]


def _step(flow: FlowData, layer: int, which: str) -> _Step:
    row, count = flow.row(layer), len(flow.tokens)
    maps = (flow.composed() if which == "composed" else flow.z2z)[row].double()
    targets = torch.tensor(flow.targets, dtype=torch.int64, device="cpu")
    sums, carried = maps.sum(-1, keepdim=True), _is_carried(flow)
    totals = flow.total(_ROUTES[which][-1])[row, :, None].double() if carried else sums
    still = totals.abs() <= 1e-6 * maps.abs().sum(-1, keepdim=True)
    whole = torch.where(still, 1.0, totals)
    shares = torch.eye(count, dtype=torch.float64, device="cpu")
    shares[targets] = torch.where(still, shares[targets], maps / whole)
    apart, residue = _composed_error(flow, row) if which == "composed" else _error(flow, "z2z", row)
    divided = 0 if carried else residue * shares[targets].abs().sum(-1)  # by a sum that is off itself
    own = (apart + divided) / whole[:, 0].abs()
    worst = torch.stack([_open(flow, route, row) for route in _ROUTES[which]]).amax(0)
    nothing = still[:, 0]

    def of_all(part: Tensor) -> Tensor:
        return shares.new_zeros(count).index_copy(0, targets, part.double())

    return _Step(
        shares,
        of_all(own.masked_fill(nothing, 0)),
        of_all(worst.masked_fill(nothing, 0)),
        of_all(nothing) > 0,
    )


def _error(flow: FlowData, route: str, row: int) -> tuple[Tensor, Tensor]:
    """The L1 error of a cell, at least what its sum misses; and that."""
    error, residue = (flow.tensors[f"{route}.{part}"][row].abs().double() for part in ("error", "residue"))
    return error.maximum(residue), residue


def _composed_error(flow: FlowData, row: int) -> tuple[Float[Tensor, " target"], Float[Tensor, " target"]]:
    """The L1 error of a composed row: those of the heads' shares, weighted by `M`, and those of `M`."""
    z2u, u2z = flow.z2u[row : row + 1].double(), flow.u2z[row : row + 1].double()
    whole, floor = z2u.sum(-1), flow.tensors["z2u.floor"][row : row + 1, :, None].double()
    shares, _ = shared_out(z2u, u2z, torch.zeros_like(u2z[:, 0]), whole, floor.expand_as(whole))
    size = shares[0].abs().sum(-1)
    (of_heads, missed), (of_players, residue) = _error(flow, "z2u", row), _error(flow, "u2z", row)
    moved = size > 0
    apart = torch.where(moved, (of_heads + missed * size) / torch.where(moved, whole[0].abs(), 1), 0)
    return (u2z[0].abs() * apart).sum(0) + of_players * size.amax(0).clamp(min=1), residue


def _open(flow: FlowData, route: str, row: int) -> Float[Tensor, " target"]:
    """|residue| over |total|; the certificate of a direction is relative to a scale that does not cancel."""
    if route == "z2u":
        return flow.certificate(route)[row].abs().amax(0).double()
    residue, total, scale = (flow.tensors[f"{route}.{part}"][row] for part in ("residue", "total", "scale"))
    return (residue.abs() / total.abs().maximum(1e-12 * scale)).double()


def _unmet(flow: FlowData, layer: int, which: str) -> int:
    """How many cells of a layer's maps miss the tolerance."""
    row = flow.row(layer)
    return sum(int((~flow.tensors[f"{route}.met"][row].bool()).sum()) for route in _ROUTES[which])
