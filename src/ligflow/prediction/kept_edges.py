"""Which layers' edges are kept with a prediction's explanation, and these."""

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.model_state import prepared
from ligflow.prediction.chain import Chain
from ligflow.prediction.chain_settings import ALL
from ligflow.prediction.edges import Edges, edges_of, held_edges
from ligflow.prediction.graph import Built
from ligflow.prediction.held import HeldAttention

_HEADS = 5  # the strongest heads at a token whose layers' edges are kept: those that a screen names


def layers_with_edges(
    heads: Mapping[int, Tensor], edges: Collection[int] | str, count: int
) -> tuple[int, ...]:
    """The numbers of the layers: those that are asked for, all, or those of the strongest heads.

    Raises LigflowError for a layer that the model does not have.
    """
    if edges == ALL:
        return tuple(range(count))
    if not isinstance(edges, str):
        check_layers(edges, count)
        return tuple(dict.fromkeys(number % count for number in edges))
    sizes = [(float(size), layer) for layer, head in heads.items() for size in head.abs().flatten()]
    return tuple(sorted({layer for _, layer in sorted(sizes, reverse=True)[:_HEADS]}))


def check_layers(edges: Collection[int] | str, count: int) -> None:
    """Raises LigflowError for a layer that the model does not have."""
    for number in () if isinstance(edges, str) else edges:
        if not -count <= number < count:
            raise LigflowError(f"There is no layer {number}; the model has layers 0 to {count - 1}.")


def kept_edges(
    built: Built, result: Chain, row: int, layers: Sequence[int]
) -> tuple[dict[int, Edges], list[str]]:
    """The edges of some layers for one row, and notes about layers that have none."""
    kept: dict[int, Edges] = {}
    notes: list[str] = []
    variables = built.graph.variables
    for call in (call for call in built.calls if call.number in layers):
        u = f"u{call.number}"
        number = next((n for n, each in enumerate(built.graph.segments) if u in each.images), None)
        if number is None or call.others:
            notes.append(f"layer {call.number} has no edges: what its heads read could not be taken apart")
            continue
        towards = result.at_images[number][u][row]
        allowance = float(result.allowances[number][row])
        try:
            with prepared(call.layer.module, call.layer.implementation):
                if isinstance(call.attend, HeldAttention):
                    edges = held_edges(call.layer, variables[call.hidden], towards, call.attend.weights)
                else:
                    edges = edges_of(call.layer, variables[call.hidden], towards, variables[u], allowance)
        except UnsupportedModel as error:
            notes.append(str(error))
            continue
        kept[call.number] = edges.edges
        if edges.error > allowance:
            notes.append(f"the edges of layer {call.number} miss their sums by {edges.error:.1e} in all")
    return kept, notes
