"""Several examples through one chain: their graphs as one, with a row for each.

Examples of as many tokens whose layers are called with the same arguments go through a layer together, and so
do the tokens that a vocabulary head reads; what lies between layers, and any other head, is run for each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ligflow.prediction.chain import Graph
from ligflow.prediction.cuts import Call
from ligflow.prediction.graph import Built
from ligflow.prediction.path_variable import Values, Variable
from ligflow.prediction.segment import FewTokens, Segment


def fit_together(first: Built, other: Built) -> bool:
    """Whether the segments of two examples are the same, and their layers called with the same arguments."""
    ours, theirs = first.graph, other.graph
    if len(ours.segments) != len(theirs.segments) or ours.variables.keys() != theirs.variables.keys():
        return False
    if any(_shape(variable) != _shape(theirs.variables[name]) for name, variable in ours.variables.items()):
        return False
    if first is not other and any(segment.choices for segment in ours.segments if segment.layer is None):
        return False  # of what lies between layers, examples are run one after another
    if any(_kind(a) != _kind(b) for a, b in zip(ours.segments, theirs.segments, strict=True)):
        return False
    return all(_called_alike(a, b) for a, b in zip(first.calls, other.calls, strict=True))


def graph_of_all(built: Sequence[Built]) -> Graph:
    """One graph whose variables have a row for each example."""
    graphs = [each.graph for each in built]
    first = graphs[0]
    variables = {name: _stacked([graph.variables[name] for graph in graphs]) for name in first.variables}
    segments = [
        replace(segment, products=None)
        if segment.layer is not None
        else _for_each([graph.segments[number] for graph in graphs])
        for number, segment in enumerate(first.segments)
    ]
    return Graph(segments, variables, first.cuts, first.tokens, first.score)


def graph_of_row(graph: Graph, row: int) -> Graph:
    """The graph of one of the examples, for what is read off it."""
    return replace(graph, variables={name: variable.of(row) for name, variable in graph.variables.items()})


def _stacked(variables: Sequence[Variable]) -> Variable:
    real, reference = (torch.stack([getattr(v, end) for v in variables]) for end in ("real", "reference"))
    return replace(variables[0], real=real, reference=reference, rows=True)


def _for_each(segments: Sequence[Segment]) -> Segment:
    """A segment that is run for one example after the other."""
    count = len(segments)

    def run(values: Values) -> dict[str, Tensor]:
        images = [
            segment.run({name: value[row::count] for name, value in values.items()})
            for row, segment in enumerate(segments)
        ]
        return {name: torch.stack([of[name] for of in images], 1).flatten(0, 1) for name in images[0]}

    few = [segment.few for segment in segments if segment.few is not None]
    joined = FewTokens.joined(few) if few else None
    return replace(segments[0], run=run, few=joined, apart=joined is not None)


def _shape(variable: Variable) -> Any:
    return variable.real.shape, variable.real.dtype, variable.axis, variable.offset, variable.late


def _kind(segment: Segment) -> Any:
    places = None if segment.few is None else segment.few.places.shape[1]
    return segment.name, segment.kind, segment.sources, segment.images, segment.implementation, places


def _called_alike(ours: Call, theirs: Call) -> bool:
    """Whether two calls of a layer differ in nothing but what moves on the path."""
    layer = ours.layer
    if layer.mode != "split" or layer.findings.one_by_one or layer.findings.tiled or layer.findings.windows:
        return False
    if ours.moving != theirs.moving or layer.module is not theirs.layer.module or layer.forms:
        return False
    return _equal(layer.arguments, theirs.layer.arguments, set(ours.moving), ())


def _equal(ours: Any, theirs: Any, moving: set[Any], path: tuple[Any, ...]) -> bool:
    if path in moving:
        return True
    if isinstance(ours, Tensor):
        return isinstance(theirs, Tensor) and ours.shape == theirs.shape and torch.equal(ours, theirs)
    if isinstance(ours, Mapping):
        return ours.keys() == theirs.keys() and all(
            _equal(ours[k], theirs[k], moving, (*path, k)) for k in ours
        )
    if isinstance(ours, (tuple, list)):
        pairs = zip(ours, theirs, strict=False)
        same = len(ours) == len(theirs)
        return same and all(_equal(a, b, moving, (*path, n)) for n, (a, b) in enumerate(pairs))
    return bool(ours is theirs or ours == theirs)
