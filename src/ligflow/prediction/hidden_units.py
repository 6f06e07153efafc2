"""Relevance of each hidden unit of an MLP: `R_i = (W_outᵀ m)_i Δa_i`, which sum to the MLP's own.

m is the cotangent of what the MLP gives, before a norm that follows it. What its last projections give
enters there linearly, so that `m . branch = Σ_i ∂(m . branch)/∂a_i a_i` in each run, with biases that cancel
in the difference. Of experts a token has those that are chosen, each times its gate: what changes is gate
times activation, 0 where an expert is not chosen, and an expert's output bias counts as a unit whose
activation is the gate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ligflow.errors import UnsupportedModel
from ligflow.layer.model_state import plain_experts, prepared
from ligflow.layer.weight_products import Projection
from ligflow.prediction.chain import Chain
from ligflow.prediction.cuts import Call
from ligflow.prediction.graph import Built
from ligflow.prediction.last_projections import gradients_at, last_projections
from ligflow.prediction.read_out import Places, ReadOut, mlp_branch
from ligflow.prediction.segment import Segment
from ligflow.prediction.unit_groups import UnitAxis, UnitGroup, WeightPlace, place_of, unit_axis

_CLOSED = 1e-4  # of all that units give in both runs: what their sum may be off
_PARALLEL = 1e-3  # of a vector: what is no multiple of another
_BETWEEN = 0.1  # of a token's number: what is no number of one


@dataclass(frozen=True, eq=False)
class HiddenUnits:
    """The hidden units of one MLP, on the axis of all tokens; activations in the real run, then the other."""

    relevance: Float[Tensor, "token unit"]
    activations: Float[Tensor, "run token unit"]
    groups: tuple[UnitGroup, ...]


def hidden_units(built: Built, result: Chain, row: int, call: Call) -> HiddenUnits:
    """The hidden units of a layer's MLP, for one row.

    Raises UnsupportedModel where it has none, or none whose sum is the MLP's.
    """
    branch = mlp_branch(Places(built.graph, result, row), call)
    segment = next(
        (each for each in built.graph.segments if (each.layer, each.kind) == (call.number, "MLP")), None
    )
    if branch is None or segment is None:
        reason = call.layer.findings.reason or (
            "it goes through a cut that has no MLP" if segment is None else "nothing in it moves the score"
        )
        raise _none_of(call, reason)
    module = call.layer.module
    with prepared(module, call.layer.implementation), plain_experts(module):
        try:
            runs = [_parts(built, segment, call, branch.cotangent, real) for real in (True, False)]
        except UnsupportedModel as error:
            raise _none_of(call, str(error)) from error
    return _assembled(runs, call, branch, built.graph.tokens)


def _none_of(call: Call, reason: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"Layer {call.number} ({call.layer.name}) has no hidden units that could be told apart: "
        f"{reason.rstrip('.')}. What passes the layer is in by_depth, and what its MLP gives in mlps, "
        "where it has one."
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """What one projection has in one run, by its rows: their tokens, units, gates, and what they give."""

    place: WeightPlace
    tokens: Int[Tensor, " row"]
    units: Float[Tensor, "row unit"]
    gates: Float[Tensor, " row"]
    given: Float[Tensor, "row unit"]
    given_by_bias: Float[Tensor, " row"]
    biased: bool


def _parts(built: Built, segment: Segment, call: Call, cotangent: Tensor, real: bool) -> list[_Part]:
    """The parts of an MLP in one of the two runs."""
    variables = built.graph.variables
    ends = {name: variables[name].real if real else variables[name].reference for name in segment.sources}
    values = {name: end[None].detach().clone().requires_grad_() for name, end in ends.items()}
    image, projections = last_projections(lambda: segment.run(values)[segment.images[0]])
    if not projections:
        raise UnsupportedModel("no product with a weight was seen that gives what the MLP gives")
    marks = torch.randn(cotangent.shape, generator=torch.Generator().manual_seed(0)).to(cotangent)
    numbers = torch.arange(1, len(marks) + 1).to(marks)[:, None]
    marked, numbered, own = (
        gradients_at(image, projections, towards[None].to(image))
        for towards in (marks, marks * numbers, cotangent)
    )
    rows = zip(projections, marked, numbered, own, strict=True)
    return [part for each in rows for part in _of_projection(call.layer.module, marks, *each)]


def _of_projection(
    module: nn.Module, marks: Tensor, projection: Projection, marked: Tensor, numbered: Tensor, own: Tensor
) -> Iterator[_Part]:
    """What a projection has, apart for each expert where one product serves all."""
    (pulled,) = torch.autograd.grad(projection.output, projection.units, own, retain_graph=True)
    place = place_of(projection.weight, module)
    of_bias = torch.zeros_like(own[..., 0]) if projection.bias is None else (own * projection.bias).sum(-1)
    tensors: tuple[Tensor, ...] = (projection.units.detach(), pulled, marked, numbered, of_bias[..., None])
    if projection.weight.ndim < 3:
        tensors = tuple(each[None] for each in tensors)
    for expert, (units, back, mark, times, bias) in enumerate(zip(*tensors, strict=True)):
        rows = [each.flatten(0, -2).double() for each in (units, back, mark, times, bias)]
        own_place = place if projection.weight.ndim < 3 else WeightPlace(place.name, expert)
        yield _of_rows(own_place, marks.double(), projection.bias is not None, *rows)


def _of_rows(
    place: WeightPlace,
    marks: Tensor,
    biased: bool,
    units: Tensor,
    back: Tensor,
    mark: Tensor,
    times: Tensor,
    bias: Tensor,
) -> _Part:
    """The rows that reach what the MLP gives, with the token that each belongs to.

    Tokens are found by what comes back of a random vector at each, once as it is and once times the token's
    number from 1; the gate is how much of it comes back.
    """
    size = mark.square().sum(-1)
    reached = size > 0
    units, back, mark, times, bias, size = (each[reached] for each in (units, back, mark, times, bias, size))
    numbers = (mark * times).sum(-1) / size
    tokens = numbers.round().long() - 1
    outside = (tokens < 0) | (tokens >= len(marks)) | ((numbers - tokens - 1).abs() > _BETWEEN)
    if bool(outside.any()):
        raise UnsupportedModel("what its last projection gives enters several tokens")
    return _Part(place, tokens, units, _gates(mark, marks[tokens]), back * units, bias[:, 0], biased)


def _gates(back: Tensor, marks: Tensor) -> Float[Tensor, " row"]:
    """How much of a vector comes back; 1 where it comes back turned, as by weights for each number of it."""
    gates = (back * marks).sum(-1) / marks.square().sum(-1)
    turned = (back - gates[:, None] * marks).norm(dim=-1) > _PARALLEL * back.norm(dim=-1)
    return torch.where(turned, 1, gates)


def _assembled(runs: Sequence[Sequence[_Part]], call: Call, branch: ReadOut, tokens: int) -> HiddenUnits:
    """The parts of both runs on one axis of units. Raises UnsupportedModel where they miss the MLP's sum."""
    every, gated = [part for parts in runs for part in parts], _gated(runs)
    active = [part for part in every if part.place in gated or bool(part.units.any())] or every
    sizes = {part.place: part.units.shape[-1] for part in active}  # an attention that gives nothing has none
    axis = unit_axis(sizes, gated, {part.place for part in every if part.biased}, call.layer.module)
    products = torch.zeros(2, tokens, axis.size, dtype=torch.float64)
    activations = torch.zeros_like(products)
    for run, parts in enumerate(runs):
        for part in (part for part in parts if part.place in axis.first):
            gates = part.gates if part.place in axis.gated else torch.ones_like(part.gates)
            _put(products[run], part, branch.first, axis, part.given, part.given_by_bias)
            _put(activations[run], part, branch.first, axis, gates[:, None] * part.units, gates)
    relevance, sought = products[0] - products[1], branch.by_token().cpu()
    off = relevance[branch.first : branch.first + len(sought)].sum(-1) - sought
    if float(off.abs().sum()) > _CLOSED * float(products.abs().sum()):
        names = ", ".join(sorted({part.place.name for part in every}))
        raise _none_of(
            call,
            f"what its last projections ({names}) give sums to another change than the MLP's, so something "
            "else stands behind or beside them",
        )
    return HiddenUnits(relevance, activations, axis.groups)


def _put(
    into: Float[Tensor, "token unit"],
    part: _Part,
    first: int,
    axis: UnitAxis,
    of_units: Tensor,
    of_bias: Tensor,
) -> None:
    """Adds what rows of a part have to their tokens, and that of its bias where it counts."""
    rows, start = part.tokens.cpu() + first, axis.first[part.place]
    into[:, start : start + of_units.shape[-1]].index_add_(0, rows, of_units.cpu())
    if part.biased and part.place in axis.biases:
        into[:, axis.biases[part.place]].index_add_(0, rows, of_bias.cpu())


def _gated(runs: Sequence[Sequence[_Part]]) -> set[WeightPlace]:
    """The weights whose rows come with a factor that is not the same everywhere."""
    gates: dict[WeightPlace, list[Tensor]] = {}
    for part in (part for parts in runs for part in parts if len(part.gates)):
        gates.setdefault(part.place, []).append(part.gates)
    joined = {place: torch.cat(each) for place, each in gates.items()}
    return {
        place
        for place, each in joined.items()
        if float((each - each[0]).abs().max()) > _PARALLEL * float(each.abs().max())
    }
