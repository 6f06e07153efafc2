"""What a module inside a layer takes or gives in both runs, with the cotangent of the score there.

A layer's segments are run with the module's vectors v replaced, along the straight line between those of the
two runs, while what else they take moves along its own:

    m_v = ∫ (∂F/∂v)(v(a), z(a))ᵀ da m,     m_v . Δv + m_z . Δz = m . ΔF

so that `m_v . Δv` is what goes through the module, and the rest passes it by.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ligflow.errors import UnsupportedModel
from ligflow.layer.arguments import first_tensor
from ligflow.layer.model_state import prepared, replaced_forwards
from ligflow.prediction.chain import Accuracy
from ligflow.prediction.cuts import Call
from ligflow.prediction.graph import Runs, implementation_of
from ligflow.prediction.path_average import average
from ligflow.prediction.path_variable import Values, Variable
from ligflow.prediction.read_out import Places, ReadOut
from ligflow.prediction.routing import routed_average
from ligflow.prediction.segment import Segment
from ligflow.prediction.two_runs import run_noting, with_first
from ligflow.recording.tolerances import max_token_error, tolerance

_INNER = "inner"  # the path variable of the module's vectors
Change = Callable[[int, Tensor], Tensor | None]  # of a call's number and its vectors: others, or None


@dataclass(frozen=True, eq=False)
class InnerModule:
    """What a module of a layer's call takes (`end` is `input`) or gives."""

    module: nn.Module
    end: str
    call: Call
    name: str

    @contextmanager
    def watched(self, change: Change) -> Iterator[None]:
        """Runs in which the module's vectors are seen, and may be replaced, call by call."""
        calls = iter(range(10**9))

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            name = None if args else next((n for n, value in kwargs.items() if _floating(value)), None)
            vectors: Any = args[0] if args else kwargs.get(name or "")
            other = change(next(calls), vectors) if _floating(vectors) else None
            if other is None:
                return None
            other = other.reshape(vectors.shape).contiguous()
            return ((other, *args[1:]), kwargs) if name is None else (args, {**kwargs, name: other})

        def after(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
            vectors = output if isinstance(output, Tensor) else first_tensor(output)
            other = change(next(calls), vectors)
            return None if other is None else with_first(output, other.reshape(vectors.shape).contiguous())

        if self.end == "input":
            handle: Any = self.module.register_forward_pre_hook(before, with_kwargs=True)
        else:
            handle = self.module.register_forward_hook(after)
        try:
            yield
        finally:
            handle.remove()


def _floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def in_both_runs(
    runs: Runs, site: InnerModule
) -> tuple[Float[Tensor, "token dim"], Float[Tensor, "token dim"]]:
    """The module's vectors in the real run and in the reference run.

    Raises UnsupportedModel where the layer does not call the module once with a vector for each token.
    """
    real, reference = (_in_run(runs, site, run.embeddings) for run in (runs.real, runs.reference))
    return real, reference


def _in_run(runs: Runs, site: InnerModule, embeddings: Tensor) -> Tensor:
    caught: list[Tensor] = []
    layer, calls = runs.modules[site.call.number], iter(range(len(runs.layers)))
    turn = sum(module is layer for module in runs.modules[: site.call.number])
    inside: list[bool] = []

    def note(_number: int, vectors: Tensor) -> None:
        if inside:
            caught.append(vectors)

    def enter(*_: Any) -> None:
        if next(calls) == turn:
            inside.append(True)

    handles = [layer.register_forward_pre_hook(enter), layer.register_forward_hook(lambda *_: inside.clear())]
    try:
        ready = prepared(runs.model, implementation_of(runs.layers))
        with ready, runs.held.through(runs.modules), site.watched(note):
            run_noting(runs.model, runs.inputs, (), embeddings, runs.positions)
    finally:
        for handle in handles:
            handle.remove()
    tokens = len(site.call.layer.hidden)
    if len(caught) != 1 or caught[0].numel() % tokens or caught[0].numel() // tokens != caught[0].shape[-1]:
        said = f"{len(caught)} times" if len(caught) != 1 else f"with shape {list(caught[0].shape)}"
        raise UnsupportedModel(
            f"{site.name} is called {said} in layer {site.call.number}, not once with one vector for each of "
            f"{tokens} tokens; a dictionary stands at such a vector alone."
        )
    return caught[0].reshape(tokens, -1)


def inner_module(runs: Runs, places: Places, site: InnerModule, accuracy: Accuracy) -> ReadOut:
    """The module's vectors in both runs and their cotangent, through all segments of its layer that hold it.

    Raises UnsupportedModel where none does.
    """
    real, reference = in_both_runs(runs, site)
    graph, result = places.graph, places.result
    inner = Variable(real, reference, 0, graph.variables[site.call.hidden].offset)
    cotangents = []
    for number, segment in enumerate(graph.segments):
        above = {name: m[places.row : places.row + 1] for name, m in result.at_images[number].items()}
        if segment.layer != site.call.number or not above:
            continue
        with prepared(runs.model, segment.implementation):
            which = _call_in(segment, graph.variables, site, inner)
            if which is None:
                continue
            own = _replacing(segment, site, which)
            over_path = routed_average if segment.choices else average
            may = result.allowances[number][places.row : places.row + 1]
            if accuracy.points is not None:
                may = torch.full_like(may, torch.inf)
            points = (accuracy.max_points,) if accuracy.points is None else (accuracy.points,) * 2
            variables = {**graph.variables, _INNER: inner}
            cotangents.append(over_path(own, variables, above, {}, may, *points).cotangents[_INNER][0])
    if not cotangents:
        raise UnsupportedModel(
            f"What {site.name} {'takes' if site.end == 'input' else 'gives'} is not seen where layer "
            f"{site.call.number} is taken apart; give a place in the residual stream, "
            f"'blocks.{site.call.number}.hook_resid_post'."
        )
    return ReadOut(sum(cotangents[1:], start=cotangents[0]), real, reference, inner.offset)


def _call_in(
    segment: Segment, variables: Mapping[str, Variable], site: InnerModule, inner: Variable
) -> int | None:
    """The number of the call, in a run of a segment, in which the module's vectors are those of both runs.

    A call that a segment ends at, before the module runs, belongs to the next one.
    """
    taken: list[Tensor] = []
    begun: list[Tensor] = []
    ends = {name: torch.stack([variables[name].reference, variables[name].real]) for name in segment.sources}
    true = torch.stack([inner.reference, inner.real])

    def note(_number: int, vectors: Tensor) -> None:
        taken.append(vectors)

    own = site.module.forward

    @wraps(own)
    def forward(*args: Any, **kwargs: Any) -> Any:
        begun.extend(taken[len(begun) :])
        return own(*args, **kwargs)

    with torch.no_grad(), site.watched(note), replaced_forwards({site.module: forward}):
        segment.run(ends)
    calls = begun if site.end == "input" else taken
    return next((number for number, vectors in enumerate(calls) if _same(vectors, true)), None)


def _same(vectors: Tensor, true: Tensor) -> bool:
    own = vectors.numel() == true.numel()
    return own and max_token_error(vectors.reshape(true.shape), true) <= tolerance(true)


def _replacing(segment: Segment, site: InnerModule, which: int) -> Segment:
    """The segment with the module's vectors as a source of its own."""

    def run(values: Values) -> Values:
        def change(number: int, _vectors: Tensor) -> Tensor | None:
            return values[_INNER] if number == which else None

        with site.watched(change):
            return segment.run({name: value for name, value in values.items() if name != _INNER})

    return replace(segment, sources=(*segment.sources, _INNER), run=run, module=None, start=2)
