"""Relevance of heads, MLPs and residuals: `m . Δv` of what each of them gives, by layer and token."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.prediction.chain import Chain, Graph
from ligflow.prediction.cuts import Call
from ligflow.prediction.segment import Variable


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
    for call in calls:
        cotangents = _Cotangents(graph, result, row, call.number)
        _put(nodes.heads, call, graph, cotangents.of_heads(f"u{call.number}"))
        _put(nodes.cross_heads, call, graph, cotangents.of_heads(f"c{call.number}"))
        _put(nodes.mlps, call, graph, _mlp(call, cotangents))
        _put(nodes.residual, call, graph, _residual(call, cotangents))
        _put(nodes.routing, call, graph, cotangents.jumps())
    return nodes


@dataclass(frozen=True, eq=False)
class _Cotangents:
    """Cotangents of a row at what the segments of one layer give and take."""

    graph: Graph
    result: Chain
    row: int
    layer: int

    def at(self, name: str) -> Tensor | None:
        """That of a variable, where it is given by a segment."""
        for number, segment in enumerate(self.graph.segments):
            if segment.layer == self.layer and name in self.result.at_images[number]:
                return self.result.at_images[number][name][self.row]
        return None

    def through(self, kind: str, name: str) -> Tensor | None:
        """That of a variable through one segment alone."""
        for number, segment in enumerate(self.graph.segments):
            average = self.result.averages[number]
            here = segment.layer == self.layer and segment.kind == kind
            if here and average is not None and name in average.cotangents:
                return average.cotangents[name][self.row]
        return None

    def jumps(self) -> Tensor | None:
        """What came of changes of experts in this layer, by token."""
        sizes = [
            average.jumps[self.row]
            for segment, average in zip(self.graph.segments, self.result.averages, strict=True)
            if segment.layer == self.layer and average is not None and average.jumps is not None
        ]
        return torch.stack(sizes).sum(0) if sizes else None

    def times(self, cotangent: Tensor | None, step: Tensor, variable: Variable) -> Tensor | None:
        """`m . Δv` by token."""
        return None if cotangent is None else variable.by_token(cotangent.double() * step.double())

    def of_heads(self, name: str) -> Float[Tensor, "head token"] | None:
        """`m_u . Δu` by head and token."""
        cotangent = self.at(name)
        if cotangent is None:
            return None
        return (cotangent.double() * self.graph.variables[name].step.double()).sum(-1).T


def _mlp(call: Call, of: _Cotangents) -> Tensor | None:
    """What the MLP gives, before its norm where it has one."""
    variables, number = of.graph.variables, call.number
    if call.form.kind == "parallel":
        a = variables[f"a{number}"]
        return of.times(of.through("sum", f"a{number}"), a.step, a)
    if call.form.kind == "post-norm":
        y, x = variables[f"y'{number}"], variables[f"x{number}"]
        return of.times(of.at(f"y'{number}"), y.step - x.step, y)
    if call.form.kind != "sequential":
        return None
    if call.form.branch is not None:
        a = variables[f"a{number}"]
        return of.times(of.at(f"a{number}"), a.step, a)
    out, x = variables[call.output], variables[f"x{number}"]
    return of.times(of.at(call.output), out.step - x.step, out)


def _residual(call: Call, of: _Cotangents) -> Tensor | None:
    """What hidden states carry past the attention (and, where these are parallel, past the MLP)."""
    hidden = of.graph.variables[call.hidden]
    kind = {"parallel": "sum", "joined": "rest"}.get(call.form.kind, "attention's output")
    return of.times(of.through(kind, call.hidden), hidden.step, hidden)


def _put(into: dict[int, Tensor], call: Call, graph: Graph, values: Tensor | None) -> None:
    if values is None:
        return
    hidden = graph.variables[call.hidden]
    whole = values.new_zeros(*values.shape[:-1], graph.tokens)
    whole[..., hidden.offset : hidden.offset + values.shape[-1]] = values
    into[call.number] = whole.cpu()
