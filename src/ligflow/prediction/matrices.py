"""The matrices at both ends of a segment, recognised by what the segment computes.

    v -> n(v) -> p_i = M_i n(v) + o_i -> φ(p_1, p_2, ...) (-> B φ) (+ v)

with n a norm or nothing, such as queries, keys and values, or an MLP. Along a straight path all that stands
in front of φ is known from two vectors of each token, and what stands behind it is the same at every point.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from posixpath import commonpath
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ligflow.layer.closed_form import is_leaf
from ligflow.layer.rotary_probe import random_like, random_noise
from ligflow.prediction.known_forms import twins_of
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.segment import Segment
from ligflow.recording.recognition import norm_of
from ligflow.recording.tolerances import rounding


class Reached(Exception):
    """Ends a run of a segment at a module."""


@dataclass(frozen=True, eq=False)
class Matrix:
    """A module that gives `x W + o`; `turned` where it keeps W's transpose, `shifts` where o may not be 0."""

    module: nn.Module
    turned: bool
    shifts: bool = True

    @property
    def weight(self) -> Float[Tensor, "input output"]:
        """W."""
        weight: Tensor = self.module.weight  # type: ignore[assignment]
        return weight.T if self.turned else weight

    def image_of(self, x: Float[Tensor, " input"]) -> Float[Tensor, " output"]:
        """`x W + o`, without a product where that is 0."""
        if self.shifts or bool(x.any()):
            image: Tensor = self.module(x[None, None])[0, 0]
            return image
        return x.new_zeros(self.weight.shape[1])


@dataclass(frozen=True, eq=False)
class FirstNorm:
    """A norm, `n(x) = W (x - c mean x) / σ(x) + b` with `σ² = mean square + eps`; c is 1 where `centred`."""

    module: nn.Module
    centred: bool
    eps: float

    def terms(self, like: Float[Tensor, "*batch dim"]) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
        """W and b."""
        probe = torch.ones_like(like.reshape(-1, like.shape[-1])[0])
        probe[1::2] = -1
        inner = self.centre(probe)
        sigma = (inner.square().mean() + self.eps).sqrt()
        offset = self.module(torch.zeros_like(probe)[None, None])[0, 0]
        return (self.module(probe[None, None])[0, 0] - offset) * sigma / inner, offset

    def centre(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """x, less its mean where the norm takes that off."""
        return x - x.mean(-1, keepdim=True) if self.centred else x


@dataclass(frozen=True, eq=False)
class Matrices:
    """What stands in front of φ and behind it.

    `idle` are modules whose results do not reach the image, with the sizes of these; `residual` says whether
    v itself is added behind `last`. `around` is a module of the layer that makes φ by itself, where there is
    one: what stands outside it need not be run. `unitwise` says that each number which φ gives depends on
    those at its own place in `p_i` alone, as an activation and a gate do.
    """

    norm: FirstNorm | None
    first: tuple[Matrix, ...]
    last: Matrix | None
    residual: bool
    idle: Mapping[nn.Module, int]
    around: nn.Module | None = None
    unitwise: bool = False

    @property
    def entrance(self) -> nn.Module:
        """The module that takes v."""
        return self.first[0].module if self.norm is None else self.norm.module


@dataclass(frozen=True, eq=False)
class _Noted:
    """A call of a leaf module: what it took and gave."""

    module: nn.Module
    taken: Tensor
    given: Tensor


def matrices_of(segment: Segment, probes: Tensor) -> Matrices | None:
    """The matrices of a segment with one source and one image; None where it begins with none.

    `probes` are values of the source for a batch of points. What the result promises is for the caller to
    see.
    """
    noted, image = _run(segment, probes)
    used = _used(noted, image)
    if not used:
        return None
    entered = used[0].taken
    if entered.shape != probes.shape or not _is_constant(entered - probes, probes):
        return None
    norm = norm_of(used[0].module, entered.detach())
    if norm is not None and (norm.eps <= 0 or used[0].given.shape != probes.shape):
        return None
    normed = entered if norm is None else used[0].given
    first = [call for call in used if _takes(call, normed) and _matrix(call) is not None]
    if not first or _repeats(noted, [*first, *used[:1]]):
        return None
    last, residual = _last(used, first, image, probes)
    if last is not None and _repeats(noted, [last]):
        return None
    reached = {call.module for call in used}
    around = None if last is None else _around(segment, [call.module for call in (*first, last)], probes)
    return Matrices(
        None if norm is None else FirstNorm(norm.module, norm.centred, norm.eps),
        tuple(matrix for call in first if (matrix := _matrix(call)) is not None),
        None if last is None else _matrix(last), residual,
        {call.module: call.given.shape[-1] for call in noted if call.module not in reached}, around,
        last is not None and segment.tokenwise and _is_unitwise(first, last.taken),
    )  # fmt: skip


def _is_unitwise(first: Sequence[_Noted], taken: Tensor) -> bool:
    """Whether `Jᵀ r` of φ is `r ⊙ Jᵀ 1` for r at random: J then has nothing beside its diagonals."""
    entering = [call.given for call in first]
    if any(each.shape != taken.shape for each in entering):
        return False
    random = random_noise(taken.shape, 3).to(taken)
    of_random, of_ones = (
        torch.autograd.grad(taken, entering, towards, retain_graph=True, allow_unused=True)
        for towards in (random, torch.ones_like(random))
    )
    return all(
        one is not None and bool(one.any()) and _is_near(own, random * one)
        for own, one in zip(of_random, of_ones, strict=True)
    )


def _is_near(ours: Tensor, theirs: Tensor) -> bool:
    return bool((ours - theirs).abs().max() <= 30 * rounding(ours) * ours.abs().max())


def _around(segment: Segment, modules: Sequence[nn.Module], probes: Tensor) -> nn.Module | None:
    """The smallest part of the layer that holds some modules, if it is called once, on a tensor alone."""
    assert segment.module is not None
    names = {module: name for name, module in segment.module.named_modules()}
    common = commonpath([f"/{names[module].replace('.', '/')}" for module in modules])
    part, calls = segment.module.get_submodule(common[1:].replace("/", ".")), list[bool]()
    if part is segment.module:
        return None

    def note(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(not kwargs and len(args) == 1 and isinstance(args[0], Tensor))

    handle = part.register_forward_pre_hook(note, with_kwargs=True)
    try:
        with torch.no_grad():
            segment.run({segment.sources[0]: probes})
    finally:
        handle.remove()
    return part if calls == [True] else None


def _run(segment: Segment, probes: Tensor) -> tuple[list[_Noted], Tensor]:
    """A run of a segment with the calls of the leaf modules of its layer."""
    noted: list[_Noted] = []

    def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        taken = args[0] if args else None
        if isinstance(taken, Tensor) and taken.is_floating_point() and isinstance(output, Tensor):
            noted.append(_Noted(module, args[0], output))

    assert segment.module is not None
    handles = [m.register_forward_hook(note) for m in segment.module.modules() if is_leaf(m)]
    try:
        with torch.enable_grad():
            images = segment.run({segment.sources[0]: probes.clone().requires_grad_()})
    finally:
        for handle in handles:
            handle.remove()
    return noted, images[segment.images[0]]


def _used(noted: Sequence[_Noted], image: Tensor) -> list[_Noted]:
    """The calls whose results reach the image."""
    moving = [call for call in noted if call.given.requires_grad]
    if not moving or not image.requires_grad:
        return []
    towards = random_noise(image.shape, 1).to(image)
    grads = torch.autograd.grad(image, [call.given for call in moving], towards, True, allow_unused=True)
    return [call for call, grad in zip(moving, grads, strict=True) if grad is not None]


def _takes(call: _Noted, normed: Tensor) -> bool:
    taken = call.taken
    return taken.numel() == normed.numel() and torch.equal(taken.reshape(normed.shape), normed)


def _repeats(noted: Sequence[_Noted], calls: Sequence[_Noted]) -> bool:
    """Whether one of the modules is called more than once."""
    modules = [call.module for call in noted]
    return any(modules.count(call.module) > 1 for call in calls)


def _matrix(call: _Noted) -> Matrix | None:
    """The module as a matrix, which its weight says and a product shows."""
    weight = getattr(call.module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2 or not weight.is_floating_point():
        return None
    with torch.no_grad():
        x = call.taken.detach().reshape(-1, call.taken.shape[-1])[:4]
        x = x.reshape(*[1] * (call.taken.ndim - 2), *x.shape)
        offset = call.module(torch.zeros_like(x))
        product, shifts = call.module(x) - offset, _may_shift(call.module) or bool(offset.any())
        for turned in (True, False):
            matrix = Matrix(call.module, turned, shifts)
            if matrix.weight.shape == (x.shape[-1], product.shape[-1]):
                off = (x @ matrix.weight - product).norm(dim=-1).max()
                if off <= 30 * rounding(x) * product.norm(dim=-1).max():
                    return matrix
    return None


def _may_shift(module: nn.Module) -> bool:
    """Whether it has numbers beside its weight, which may change without a word."""
    return len([*module.parameters(), *module.buffers()]) > 1


def _last(
    used: Sequence[_Noted], first: Sequence[_Noted], image: Tensor, probes: Tensor
) -> tuple[_Noted | None, bool]:
    """The matrix that gives the image, by itself or added to v."""
    calls = [call for call in used if call not in first and _matrix(call) is not None]
    if not calls or calls[-1].given.numel() != image.numel() or image.shape != probes.shape:
        return None, False
    rest = image - calls[-1].given.reshape(image.shape)
    if _is_constant(rest, image):
        return calls[-1], False
    return (calls[-1], True) if _is_constant(rest - probes, image) else (None, False)


def _is_constant(values: Float[Tensor, "point token dim"], beside: Tensor) -> bool:
    """Whether all vectors are the same, but for rounding beside others."""
    gap = (values - values[:1, :1]).norm(dim=-1).max()
    return bool(gap <= 30 * rounding(beside) * beside.norm(dim=-1).max())


_known: "weakref.WeakKeyDictionary[nn.Module, dict[tuple[str, str], Matrices | None]]" = (
    weakref.WeakKeyDictionary()
)
_models: "weakref.WeakKeyDictionary[type[nn.Module], weakref.ref[nn.Module]]" = weakref.WeakKeyDictionary()


def known_matrices(
    segment: Segment, variable: Variable, right: Callable[[Matrices, Tensor], bool]
) -> Matrices | None:
    """The matrices of a segment, recognised once for each module, where a check says that they are right.

    Those of another layer of its class come first, on its own modules. What is held at the input computes
    something else with the same modules.
    """
    own = variable.of(0).real
    if segment.module is None or len(segment.sources) != 1 or len(segment.images) != 1:
        return None
    if variable.axis != 0 or own.ndim != 2:
        return None
    known = _known.setdefault(segment.module, {})
    key = segment.kind, segment.held
    if key not in known:
        probes = random_like(torch.stack([own, own]))
        known[key] = next((way for way in _ways(segment, key, probes) if right(way, probes)), None)
        _models[type(segment.module)] = weakref.ref(segment.module)
    return known[key]


def _ways(segment: Segment, key: tuple[str, str], probes: Tensor) -> Iterator[Matrices]:
    """What the matrices of a segment may be, the likeliest first."""
    assert segment.module is not None
    other = _models[type(segment.module)]() if type(segment.module) in _models else None
    like = None if other is None else _known.get(other, {}).get(key)
    twins = None if other is None else twins_of(other, segment.module)
    if twins is not None and like is not None:
        moved = _moved(like, twins, probes)
        yield from [] if moved is None else [moved]
    matrices = matrices_of(segment, probes)
    yield from [] if matrices is None else [matrices, replace(matrices, around=None)]


def _moved(like: Matrices, twins: Mapping[nn.Module, nn.Module], probes: Tensor) -> Matrices | None:
    """The matrices of another layer on the modules of this one; its norm is seen anew."""
    norm = like.norm
    if norm is not None:
        seen = norm_of(twins[norm.module], probes)
        if seen is None or seen.eps <= 0 or seen.centred != norm.centred:
            return None
        norm = FirstNorm(seen.module, seen.centred, seen.eps)

    def moved(matrix: Matrix) -> Matrix:
        module = twins[matrix.module]
        return replace(matrix, module=module, shifts=matrix.shifts or _may_shift(module))

    return Matrices(
        norm, tuple(map(moved, like.first)), like.last and moved(like.last), like.residual,
        {twins[module]: width for module, width in like.idle.items()}, like.around and twins[like.around],
        like.unitwise,
    )  # fmt: skip
