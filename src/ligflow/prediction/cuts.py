"""The cuts of a layer: the table that says into which segments a layer of each form is taken apart.

| form | cuts |
|---|---|
| sequential (pre-norm) | z -> u; (u, z) -> x; x -> z' |
| sequential, norm after the MLP | z -> u; (u, z) -> x; x -> a; (a, x) -> z' |
| post-norm | z -> u; (u, z) -> x; x -> y; y -> z' |
| parallel | z -> u; z -> a; (u, a, z) -> z' |
| with a second attention | z -> u; (u, z) -> y; (y, e) -> c; (c, y) -> x; ... |
| joined | z -> u; (u, z) -> z' |
| layer | z -> z' |

z are the layer's hidden states, u and c what the heads of its attentions give, a what the MLP gives before a
norm, z' the layer's output.
"""

import contextlib
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ligflow.layer.arguments import snapshot
from ligflow.layer.interface import Captured, plain
from ligflow.layer.layer import Layer
from ligflow.prediction.fused_attention import fused
from ligflow.prediction.layer_form import LayerForm, Second, Site, run_to
from ligflow.prediction.path_variable import Values
from ligflow.prediction.segment import Segment
from ligflow.prediction.two_runs import Path
from ligflow.prediction.written import noting_written

Attend = Callable[[Captured], Tensor]


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer on the chain: its form, and the path variables among its arguments.

    `hidden` and `output` are the names of its hidden states and of what it gives, `moving` those of other
    arguments by where they stand, `written` those of what it writes into its arguments. `attend` and
    `attend_second` are what its attentions do.
    """

    number: int
    layer: Layer
    form: LayerForm
    hidden: str
    output: str
    moving: Mapping[Path, str]
    written: Mapping[Path, str] = field(default_factory=dict)
    attend: Attend = plain
    attend_second: Attend = plain

    @property
    def memory(self) -> str | None:
        """The encoder's states that the second attention reads, where they move."""
        name = self.layer.findings.memory
        return self.moving.get((name,)) if name else None

    @property
    def others(self) -> tuple[str, ...]:
        """Arguments that move besides, token by token."""
        return tuple(name for name in dict.fromkeys(self.moving.values()) if name != self.memory)

    def at(self, values: Values) -> Layer:
        """The layer with the arguments that move at points of the path, one example for each."""
        here = {path: values[name] for path, name in self.moving.items() if name in values}
        if not here:
            return self.layer
        tiled = tuple(name for name in self.layer.findings.tiled if (name,) not in here)
        layer = self.layer.with_findings(tiled=tiled)
        return replace(layer, arguments=_with(self.layer.arguments, here))


def _with(arguments: dict[str, Any], values: Mapping[Path, Tensor]) -> dict[str, Any]:
    def replaced(value: Any, path: Path) -> Any:
        if path in values:
            return values[path]
        if isinstance(value, MutableMapping):  # a copy, by snapshot
            value.update({key: replaced(part, (*path, key)) for key, part in value.items()})
            return value
        if type(value) in (tuple, list):
            return type(value)(replaced(part, (*path, number)) for number, part in enumerate(value))
        return value

    return {name: replaced(value, (name,)) for name, value in snapshot(arguments).items()}


def segments_of(call: Call) -> list[Segment]:
    """The segments of a layer, from its hidden states to its output."""
    return _SEGMENTS[call.form.kind](call)


def sites_of(call: Call) -> dict[str, Site | None] | None:
    """Where a run of the layer has the variables inside it, by name; None is what its attention gives.

    None in place of all where some of them stand nowhere.
    """
    form, layer, u = call.form, call.layer, _named(call, "u")
    in_parts = layer.calls or layer.findings.windows or layer.findings.one_by_one
    if form.kind == "layer":
        return {}
    if in_parts or form.between or call.attend is not plain or form.kind == "parallel":
        return None
    sites = {
        _named(call, "x"): form.after and form.after.site,
        _named(call, "a"): form.branch,
        _named(call, "y'"): form.last,
    }
    return {u: None, **{name: site for name, site in sites.items() if site}}


def _named(call: Call, name: str) -> str:
    return f"{name}{call.number}"


def _segment(
    call: Call,
    name: str,
    sources: tuple[str, ...],
    image: str,
    run: Callable[[Values], Tensor],
    tokenwise: bool = True,
    start: int = 2,
) -> Segment:
    return Segment(
        f"layer {call.number}, {name}", call.number, name, sources, (image,),
        lambda values: {image: run(values)}, tokenwise and call.layer.findings.positionwise, start,
        call.layer.implementation, module=call.layer.module,
    )  # fmt: skip


def _layer(call: Call) -> list[Segment]:
    sources = (call.hidden, *dict.fromkeys(call.moving.values()))

    def run(values: Values) -> Values:
        if call.layer.findings.one_by_one:  # so that each has the arguments of its own point
            points = [
                {name: value[[point]] for name, value in values.items()} for point in range(_points(values))
            ]
            parts = [_whole(call, point) for point in points]
            return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return _whole(call, values)

    images = (call.output, *call.written.values())
    return [
        Segment(f"layer {call.number}, layer", call.number, "layer", sources, images, run,
                implementation=call.layer.implementation),
    ]  # fmt: skip


def _points(values: Values) -> int:
    return len(next(iter(values.values())))


def _whole(call: Call, values: Values) -> dict[str, Tensor]:
    """The layer's output, and what it writes into its arguments."""
    with noting_written(call.layer.module) as written:
        output = call.at(values).forward(values[call.hidden])
    return {call.output: output, **written.at(call.written)}


def _attention(call: Call) -> Segment:
    """From z to u, and to the keys and values that the layer writes for others."""
    u, sources = _named(call, "u"), (call.hidden, *call.others)

    def heads(values: Values) -> Tensor:
        layer, hidden = call.at(values), values[call.hidden]
        if call.attend is not plain:
            return call.attend(layer.capture(hidden)).transpose(1, 2)
        if layer.calls or layer.findings.windows or layer.findings.one_by_one:
            return layer.attend(hidden)
        return fused(layer.capture(hidden)).transpose(1, 2)

    def run(values: Values) -> Values:
        with noting_written(call.layer.module) as written:
            image = heads(values)
        return {u: image, **written.at(call.written)}

    segment = _segment(call, "attention", sources, u, heads, tokenwise=False)
    return replace(segment, images=(u, *call.written.values()), run=run) if call.written else segment


def _joined(call: Call) -> list[Segment]:
    u = _named(call, "u")
    sources = (u, call.hidden, *dict.fromkeys(call.moving.values()))

    def run(values: Values) -> Tensor:
        return run_to(call.at(values), values[call.hidden], values[u], call.attend_second)

    rest = _segment(call, "rest", sources, call.output, run, tokenwise=call.memory is None)
    return [_attention(call), rest]


def _parallel(call: Call) -> list[Segment]:
    u, a, nothing = _named(call, "u"), _named(call, "a"), _nothing(call)

    def mlp(values: Values) -> Tensor:
        hidden = values[call.hidden]
        return run_to(call.at(values), hidden, nothing(hidden)) - hidden

    def joint(values: Values) -> Tensor:
        still = call.layer.hidden.expand(len(values[u]), -1, -1)
        with torch.no_grad():
            base = run_to(call.layer, still[:1], nothing(still[:1]))
        written = run_to(call.layer, still, values[u]) - base
        return values[call.hidden] + values[a] + written

    sources = (u, a, call.hidden)
    return [
        _attention(call),
        _segment(call, "MLP", (call.hidden, *call.others), a, mlp),
        _segment(call, "sum", sources, call.output, joint, start=0),
    ]


def _sequential(call: Call) -> list[Segment]:
    return [*_up_to_x(call), *_mlp(call)]


def _mlp(call: Call) -> list[Segment]:
    x, a, nothing, form = _named(call, "x"), _named(call, "a"), _nothing(call), call.form
    assert form.after is not None
    assert form.after.shift is not None
    shift, empty = form.after.shift, _empty

    def from_x(values: Values, stop: Any = None) -> Tensor:
        hidden = values[x] - shift
        return run_to(call.at(values), hidden, nothing(hidden), empty, stop=stop)

    if form.branch is None:
        return [_segment(call, "MLP", (x, *call.others), call.output, from_x)]
    norm = form.branch.module

    def add(values: Values) -> Tensor:
        added: Tensor = norm(values[a])
        return values[x] + added

    return [
        _segment(call, "MLP", (x, *call.others), a, partial(from_x, stop=form.branch)),
        _segment(call, "norm after the MLP", (a, x), call.output, add, start=1),
    ]


def _up_to_x(call: Call) -> list[Segment]:
    """From z to x, through one attention or two."""
    u, x, y, c, form = (*(_named(call, name) for name in "uxyc"), call.form)
    assert form.after is not None
    after, between, nothing = form.after, form.between, _nothing(call)

    def joined(values: Values) -> Tensor:
        return run_to(call.at(values), values[call.hidden], values[u], _empty, stop=(between or after).site)

    first = [_attention(call)]
    to = y if between else x
    start, sources = 0 if _adds(call) else 1, (u, call.hidden, *call.others)
    first.append(_segment(call, "attention's output", sources, to, joined, start=start))
    if between is None:
        return first

    def from_y(values: Values, second: Second, stop: Any) -> Tensor:
        if between.shift is None:
            hidden = call.layer.hidden.expand(len(values[y]), -1, -1)
            return run_to(call.at(values), hidden, nothing(hidden), second, {between.site: values[y]}, stop)
        hidden = values[y] - between.shift
        return run_to(call.at(values), hidden, nothing(hidden), second, stop=stop)

    def cross(values: Values) -> Tensor:
        caught: list[Tensor] = []

        def attend(captured: Captured) -> Tensor:
            caught.append(call.attend_second(captured))
            raise _Caught

        with contextlib.suppress(_Caught):
            from_y(values, attend, None)
        return caught[0].transpose(1, 2)

    def second(values: Values) -> Tensor:
        return from_y(values, lambda _captured: values[c].transpose(1, 2), after.site)

    memory = (call.memory,) if call.memory else ()
    return [
        *first,
        _segment(call, "cross-attention", (y, *memory), c, cross, tokenwise=False),
        _segment(call, "cross-attention's output", (c, y), x, second, start=0 if _adds(call) else 1),
    ]


class _Caught(Exception):
    """Ends a layer at its second attention."""


def _adds(call: Call) -> bool:
    """Whether the heads' outputs may be added to the residual as they are."""
    return call.form.kind == "sequential"


def _post_norm(call: Call) -> list[Segment]:
    x, y, form, nothing = _named(call, "x"), _named(call, "y'"), call.form, _nothing(call)
    assert form.after is not None
    assert form.last is not None
    after, last = form.after, form.last

    def to_norm(values: Values) -> Tensor:
        hidden = call.layer.hidden.expand(len(values[x]), -1, -1)
        return run_to(call.at(values), hidden, nothing(hidden), _empty, {after.site: values[x]}, last)

    def norm(values: Values) -> Tensor:
        result: Tensor = last.module(values[y])
        return result

    return [
        *_up_to_x(call),
        _segment(call, "MLP", (x, *call.others), y, to_norm),
        _segment(call, "norm after the MLP", (y,), call.output, norm, start=1),
    ]


def _nothing(call: Call) -> Callable[[Tensor], Tensor]:
    """Attention that gives nothing, for a batch of hidden states."""
    shape: list[tuple[int, ...]] = []

    def nothing(hidden: Tensor) -> Tensor:
        if not shape:
            with torch.no_grad():
                shape.append(tuple(call.layer.attend(call.layer.hidden[None]).shape[1:]))
        return hidden.new_zeros(len(hidden), *shape[0])

    return nothing


def _empty(captured: Captured) -> Tensor:
    """A second attention that gives nothing."""
    return captured.query.new_zeros(*captured.query.shape[:3], captured.value.shape[-1])


_SEGMENTS: Mapping[str, Callable[[Call], list[Segment]]] = {
    "sequential": _sequential,
    "post-norm": _post_norm,
    "parallel": _parallel,
    "joined": _joined,
    "layer": _layer,
}
