"""Relevance of heads, MLPs and residuals: `m . Δv` of what each of them gives, by layer and token."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.prediction.chain import Chain, Graph
from ligflow.prediction.cuts import Call
from ligflow.prediction.read_out import Places, mlp_branch


@dataclass(eq=False)
class Nodes:
    """What the parts of layers give, for one row of the answer; by the layer's number."""

    heads: dict[int, Float[Tensor, "head token"]] = field(default_factory=dict)
    cross_heads: dict[int, Float[Tensor, "head token"]] = field(default_factory=dict)
    mlps: dict[int, Float[Tensor, " token"]] = field(default_factory=dict)
    residual: dict[int, Float[Tensor, " token"]] = field(default_factory=dict)
    routing: dict[int, Float[Tensor, " token"]] = field(default_factory=dict)


def nodes_of(graph: Graph, calls: list[Call], result: Chain, row: int) -> Nodes:
    """The nodes of one row, on the axis of all tokens."""
    nodes = Nodes()
    places = Places(graph, result, row)
    for call in calls:
        branch = mlp_branch(places, call)
        _put(nodes.heads, call, graph, _heads(places, f"u{call.number}"))
        _put(nodes.cross_heads, call, graph, _heads(places, f"c{call.number}"))
        _put(nodes.mlps, call, graph, None if branch is None else branch.by_token())
        _put(nodes.residual, call, graph, _residual(places, call))
        _put(nodes.routing, call, graph, _jumps(places, call.number))
    return nodes


def _heads(places: Places, name: str) -> Float[Tensor, "head token"] | None:
    """`m_u . Δu` by head and token."""
    u = places.variable(name) if name in places.graph.variables else None
    return None if u is None else (u.cotangent.double() * u.step.double()).sum(-1).T


def _residual(places: Places, call: Call) -> Float[Tensor, " token"] | None:
    """What hidden states carry past the attention (and, where these are parallel, past the MLP)."""
    hidden = places.graph.variables[call.hidden]
    kind = {"parallel": "sum", "joined": "rest"}.get(call.form.kind, "attention's output")
    cotangent = places.through(call.number, kind, call.hidden)
    return None if cotangent is None else hidden.by_token(cotangent.double() * hidden.step.double())


def _jumps(places: Places, layer: int) -> Float[Tensor, " token"] | None:
    """What came of changes of experts in a layer, by token."""
    sizes = [
        average.jumps[places.row]
        for segment, average in zip(places.graph.segments, places.result.averages, strict=True)
        if segment.layer == layer and average is not None and average.jumps is not None
    ]
    return torch.stack(sizes).sum(0) if sizes else None


def _put(into: dict[int, Tensor], call: Call, graph: Graph, values: Tensor | None) -> None:
    if values is None:
        return
    hidden = graph.variables[call.hidden]
    whole = values.new_zeros(*values.shape[:-1], graph.tokens)
    whole[..., hidden.offset : hidden.offset + values.shape[-1]] = values
    into[call.number] = whole.cpu()
