"""A layer's MLP, recognised by what it computes: the products with weights that are not its attention's.

Of the products with weights behind (or beside) an attention that gives u,

- its output projection is the attention's: the first on a way from u, and those that stay affine in u;
- so is what that is made of, such as a gate on u;
- all others are the MLP's: its projections, its experts and their router.

What reaches a layer's output by none of the MLP's passes *beside* the MLP, in the residual stream and the
norms on it; the rest passes *through* it. `Switch` tells both apart on the way back: closed, what those
products give counts as constant.
"""

import re
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ligflow.errors import UnsupportedModel
from ligflow.layer.arguments import snapshot
from ligflow.layer.interface import Captured, plain
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import plain_experts
from ligflow.layer.weight_products import OnProjections, Projection, made_by

_FAR = 1e3  # of the hidden states: how large u is made, so that a norm behind it bends
_BEND = 1e-2  # of a change: what is affine bends by less

_known: "weakref.WeakKeyDictionary[nn.Module, tuple[nn.Module, ...]]" = weakref.WeakKeyDictionary()


@dataclass(eq=False)
class Switch:
    """Whether gradients flow back through an MLP; if not, what it gives counts as constant."""

    open: bool = True


class _Gate(torch.autograd.Function):
    """The same tensor, whose gradient a switch lets through or not."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, switch: Switch) -> Tensor:
        ctx.switch = switch
        return tensor.clone()  # which the model may change in place

    @staticmethod
    def backward(ctx: Any, *towards: Any) -> Any:
        return (towards[0] if ctx.switch.open else None), None


@contextmanager
def switched(modules: Sequence[nn.Module]) -> Iterator[Switch]:
    """A run in which what these modules give passes a switch."""
    switch = Switch()

    def gate(value: Any) -> Any:
        gated = isinstance(value, Tensor) and value.requires_grad
        return _Gate.apply(value, switch) if gated else value  # type: ignore[no-untyped-call]

    def after(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        return snapshot(output, gate)

    handles = [module.register_forward_hook(after) for module in modules]
    try:
        yield switch
    finally:
        for handle in handles:
            handle.remove()


def mlp_modules(layer: Layer) -> tuple[nn.Module, ...]:
    """The modules that apply the weights of a split layer's MLP; none where it has no MLP.

    Raises UnsupportedModel where one module applies those of its attention too.
    """
    if layer.module not in _known:
        _known[layer.module] = _recognised(layer)
    return _known[layer.module]


def _recognised(layer: Layer) -> tuple[nn.Module, ...]:
    with plain_experts(layer.module), torch.enable_grad():
        run = _run(layer, 1.0)
        others = [_by_place(_run(layer, factor).projections) for factor in (0.0, 2.0)]
    below = [made_by([projection.units]) for projection in run.projections]
    moved = [bool(functions & run.attended) for functions in below]
    last = made_by([run.output])
    of_output = [n for n, each in enumerate(run.projections) if each.output.grad_fn in last]
    affine = _affine_places(_by_place(run.projections), *others)
    projections = [
        n for n in of_output
        if moved[n] and (_is_first(n, run.projections, below, moved) or run.projections[n].where in affine)
    ]  # fmt: skip
    made_of = {function for n in projections for function in below[n]}
    of_attention = {*projections, *(n for n in of_output if run.projections[n].output.grad_fn in made_of)}
    attending = {run.projections[n].where[0] for n in of_attention}
    own = {run.projections[n].where[0] for n in of_output if n not in of_attention}
    if own & {*attending, layer.module}:
        raise UnsupportedModel(
            f"What passes through the MLP of layer {layer.index} ({layer.name}) cannot be told: one module "
            "applies its weights and others of the layer. Leave split out, or choose other layers."
        )
    return tuple(_with_those_alike(own, layer.module))


@dataclass(frozen=True, eq=False)
class _Run:
    """One run of a layer behind its attention: its products, its output, and the graph's ends at u."""

    projections: list[Projection]
    output: Tensor
    attended: set[Any]


def _run(layer: Layer, factor: float) -> _Run:
    """With attentions that give so many times what they gave, made large; products are named by place."""
    hidden = layer.hidden[None].detach()
    leaves: list[Tensor] = []

    def leaf(u: Tensor) -> Tensor:
        size = hidden.norm() / u.norm().clamp(min=torch.finfo(u.dtype).tiny)
        leaves.append((u.detach() * (factor * _FAR * size)).requires_grad_())
        return leaves[-1]

    def second(captured: Captured) -> Tensor:
        return leaf(plain(captured))

    stack: list[nn.Module] = []
    counts: dict[nn.Module, int] = {}

    def enter(module: nn.Module, _args: Any) -> None:
        stack.append(module)

    def leave(*_: Any) -> None:
        stack.pop()

    def where() -> tuple[nn.Module, int]:
        counts[stack[-1]] = counts.get(stack[-1], -1) + 1
        return stack[-1], counts[stack[-1]]

    modules = list(layer.module.modules())
    handles = [module.register_forward_pre_hook(enter) for module in modules]
    handles += [module.register_forward_hook(leave) for module in modules]
    try:
        with OnProjections(where) as products:
            output = layer.finish(hidden.clone().requires_grad_(), leaf(layer.attend(hidden)), second)
    finally:
        for handle in handles:
            handle.remove()
    ends = {function for u in leaves for function in _ends_of(output, u)}
    return _Run(products.noted, output, ends)


def _ends_of(output: Tensor, leaf: Tensor) -> set[Any]:
    """The functions of the graph that stand for a leaf."""
    return {function for function in made_by([output]) if getattr(function, "variable", None) is leaf}


def _is_first(number: int, projections: list[Projection], below: list[set[Any]], moved: list[bool]) -> bool:
    """Whether no other product stands between an attention and this one."""
    return not any(
        moved[other] and projections[other].output.grad_fn in below[number]
        for other in range(len(projections))
    )


def _by_place(projections: list[Projection]) -> dict[Any, Tensor]:
    return {projection.where: projection.units.detach() for projection in projections}


def _affine_places(once: dict[Any, Tensor], never: dict[Any, Tensor], twice: dict[Any, Tensor]) -> set[Any]:
    """Where what products are applied to is affine in what attention gives."""
    places = set()
    for place, at in once.items():
        start, far = never.get(place), twice.get(place)
        if start is None or far is None or not start.shape == at.shape == far.shape:
            continue
        bend, change = (far - 2 * at + start).norm(), (far - start).norm()
        if bool(change > 0) and bool(bend <= _BEND * change):
            places.add(place)
    return places


def _with_those_alike(modules: set[nn.Module], layer: nn.Module) -> Iterator[nn.Module]:
    """These modules, and others of a class with names that differ by numbers alone, as experts' do."""
    names = {module: re.sub(r"\d+", "#", name) for name, module in layer.named_modules()}
    kinds = {(type(module), names[module]) for module in modules}
    return (module for module, name in names.items() if (type(module), name) in kinds)
