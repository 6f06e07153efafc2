"""Which layers' edges are kept with a prediction's explanation, and these, on the axis of all tokens."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.devices.free_memory import free_on_cpu
from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.model_state import prepared
from ligflow.prediction.chain import Chain, Graph
from ligflow.prediction.cuts import Call
from ligflow.prediction.edges import HeadEdges, edges_of, held_edges
from ligflow.prediction.given_attention import attention_segment, given, given_on_path
from ligflow.prediction.graph import Built
from ligflow.prediction.held import Held, HeldAttention
from ligflow.prediction_settings import ALL
from ligflow.progress import size_in_words

_UNASKED = 2**30  # bytes of edges that are kept though nobody named their layers
_HEADS = 5  # the strongest heads at a token whose layers' edges are kept: those that a screen names


@dataclass(eq=False)
class KeptEdges:
    """Edges of layers, those of heads of a second attention after the others, their parts, and notes."""

    edges: dict[int, Float[Tensor, "head target source"]] = field(default_factory=dict)
    parts: dict[int, Float[Tensor, "part head target source"]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def layers_with_edges(
    heads: Mapping[int, Tensor], edges: Collection[int] | str, count: int
) -> tuple[int, ...]:
    """The numbers of the layers: those of the strongest heads, and those that are asked for, or all.

    Of a long text, where these would take more than 1 GiB, they are those that are asked for alone. Raises
    LigflowError for a layer that the model does not have.
    """
    if edges == ALL:
        return tuple(range(count))
    check_layers(edges, count)
    if not edges:
        return ()
    named = set[int]() if isinstance(edges, str) else {number % count for number in edges}
    every = named | _strongest(heads)
    return tuple(sorted(every if _bytes(heads, every) <= _UNASKED else named))


def notes_on_edges(
    heads: Mapping[int, Tensor], edges: Collection[int] | str, layers: Collection[int]
) -> list[str]:
    """A note where edges of the strongest heads are not among those of `layers`, as they would be large."""
    left_out = sorted(_strongest(heads) - set(layers)) if edges and edges != ALL else []
    if not left_out:
        return []
    size, tokens = size_in_words(_bytes(heads, left_out)), next(iter(heads.values())).shape[-1]
    return [
        f"what the strongest heads read (layers {', '.join(map(str, left_out))}) is not kept: of {tokens} "
        f"tokens it takes {size}; ask for it: edges={left_out}"
    ]


def _strongest(heads: Mapping[int, Float[Tensor, "head token"]]) -> set[int]:
    """The layers of the heads that carry most at a token."""
    sizes = [
        (float(size), layer)
        for layer, head in heads.items()
        for size in head.abs().flatten().topk(min(_HEADS, head.numel())).values
    ]
    return {layer for _, layer in sorted(sizes, reverse=True)[:_HEADS]}


def _bytes(heads: Mapping[int, Float[Tensor, "head token"]], layers: Collection[int]) -> int:
    """What the edges of layers take."""
    return sum(8 * heads[layer].numel() * heads[layer].shape[-1] for layer in layers if layer in heads)


def check_room(built: Built, edges: Collection[int] | str, parts: bool, count: int) -> None:
    """Raises LigflowError where the edges that are asked for do not fit into the memory that is free."""
    named = range(count) if edges == ALL else () if isinstance(edges, str) else edges
    layers = {number % count for number in named}
    variables = [built.graph.variables.get(f"u{number}") for number in layers]
    heads = [variable.real.shape[1] for variable in variables if variable is not None]
    numbers = sum(heads) * built.graph.tokens**2 * len(built.scores[0]) * (4 if parts else 1)
    if 8 * numbers > (free := free_on_cpu()):
        raise LigflowError(
            f"What the heads of {len(heads)} layers read takes {size_in_words(8 * numbers)} at "
            f"{built.graph.tokens} tokens, and {size_in_words(free)} of the memory are free; ask for fewer "
            "layers, e.g. edges=[-1], or for none: edges=()."
        )


def check_layers(edges: Collection[int] | str, count: int) -> None:
    """Raises LigflowError for a layer that the model does not have."""
    for number in () if isinstance(edges, str) else edges:
        if not -count <= number < count:
            raise LigflowError(f"There is no layer {number}; the model has layers 0 to {count - 1}.")


def kept_edges(
    built: Built,
    result: Chain,
    row: int,
    layers: Sequence[int],
    held: Held | None = None,
    parts: bool = False,
    points: int | None = None,
) -> KeptEdges:
    """The edges of some layers for one row, with their parts if these are asked for.

    Layers that have none are named in the notes. Raises UnsupportedModel where parts are asked for and no
    layer has any.
    """
    kept = KeptEdges()
    for call in (call for call in built.calls if call.number in layers):
        try:
            _keep(kept, built.graph, call, result, row, held or Held(), parts, points)
        except UnsupportedModel as error:
            kept.notes.append(str(error))
    if parts and layers and not kept.parts:
        reasons = "; ".join(kept.notes[:1]) or "none of these layers moves between the two runs"
        raise UnsupportedModel(
            f"No layer that is asked for has parts by value, key and query: {reasons.rstrip('.')}. Leave "
            "parts out: tokens and layers are explained without them."
        )
    return kept


def _keep(
    kept: KeptEdges,
    graph: Graph,
    call: Call,
    result: Chain,
    row: int,
    held: Held,
    parts: bool,
    points: int | None,
) -> None:
    """Adds the edges of one layer. Raises UnsupportedModel where it has none."""
    names = [name for name in (f"u{call.number}", f"c{call.number}") if name in graph.variables]
    layer, findings = call.layer, call.layer.findings
    if not names or layer.mode != "split" or findings.windows is not None or layer.calls:
        reason = findings.reason or "what its heads read could not be taken apart"
        raise UnsupportedModel(f"Layer {layer.index} ({layer.name}) has no edges: {reason}.")
    edges, stacked, error, allowance = [], [], 0.0, 0.0
    for name in names:
        number = next(n for n, each in enumerate(graph.segments) if name in each.images)
        if name not in result.at_images[number]:
            continue
        towards, may = result.at_images[number][name][row], float(result.allowances[number][row])
        with prepared(layer.module, layer.implementation), held.at(call.number):
            own = _of_attention(graph, call, name, towards, may, parts, points)
        edges.append(_on_all_tokens(graph, call, name, own.sources))
        _add_own(edges[-1], graph, call, own.own)
        if own.parts is not None:
            stacked.append(_on_all_tokens(graph, call, name, own.parts))
        error, allowance = error + own.error, allowance + may
    if not edges:
        return
    kept.edges[call.number] = edges[0] if len(edges) == 1 else torch.cat(edges)
    if parts:
        kept.parts[call.number] = stacked[0] if len(stacked) == 1 else torch.cat(stacked, dim=1)
    if error > allowance:
        kept.notes.append(f"the edges of layer {call.number} miss their sums by {error:.1e} in all")


def _of_attention(
    graph: Graph, call: Call, name: str, towards: Tensor, allowance: float, parts: bool, points: int | None
) -> HeadEdges:
    """The edges of the heads of one attention, on its own tokens."""
    attend = call.attend if name.startswith("u") else call.attend_second
    if isinstance(attend, HeldAttention):
        sources = attention_segment(call, name).sources
        ends = {
            each: torch.stack([graph.variables[each].reference, graph.variables[each].real])
            for each in sources
        }
        with torch.no_grad():
            value = given(call, name, ends).value
        return held_edges(value, towards, attend.weights, parts)
    at = partial(given_on_path, call, name, graph.variables)
    return edges_of(at, towards, graph.variables[name].step, allowance, parts, points)


def _on_all_tokens(graph: Graph, call: Call, name: str, own: Float[Tensor, "*head target source"]) -> Tensor:
    """Edges between an attention's own tokens, where these stand among all."""
    targets = graph.variables[call.hidden].offset
    memory = call.memory if name.startswith("c") else None
    sources = graph.variables[memory].offset if memory else targets if name.startswith("u") else 0
    if own.shape[-2:] == (graph.tokens, graph.tokens):
        return own
    whole = own.new_zeros(*own.shape[:-2], graph.tokens, graph.tokens)
    whole[..., targets : targets + own.shape[-2], sources : sources + own.shape[-1]] = own
    return whole


def _add_own(edges: Float[Tensor, "head target source"], graph: Graph, call: Call, own: Tensor) -> None:
    """Adds what moves with a target's query to the target's own edge."""
    first = graph.variables[call.hidden].offset
    places = torch.arange(first, first + own.shape[-1])
    edges[:, places, places] += own
