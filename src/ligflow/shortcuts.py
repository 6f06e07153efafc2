"""Which projections of a layer have a closed form (see `rays`), found out from its modules and checked.

Nothing here knows a model family. The layer's projections are captured once with every leaf module
watched; norms are those leaves that have an epsilon. Hypotheses (no norm before, one of these; no norm
after, one of those) are tried on a path between two random points, and the first one that predicts
the plain capture is kept. What a position does to a key is fitted on probes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ligflow.rays import Ray, Turn, along, fit_turn, of_each
from ligflow.recipes import Norm, Recipe, Shortcut
from ligflow.replay import Captured, Layer, flat_tensors, standing_in

PARTS = ("query", "key", "value")
_TRIED = 4  # vectors that a norm is tried on
_EPSILONS = ("eps", "variance_epsilon", "epsilon", "norm_eps", "layer_norm_eps", "layernorm_epsilon")
_PROBES = 8
_AT = 0.65  # the point of the path on which hypotheses are tried
_LIMIT = {torch.float64: 1e-10}
_FLOAT32_LIMIT = 2e-5


def recognise(layer: Layer, projections: Mapping[nn.Module, int]) -> Shortcut | str:
    """The layer's shortcut, validated against the plain capture; or the reason why it has none."""
    if layer.one_by_one and layer.layout.examples is not None:
        return "it takes one example at a time"
    if layer.layout.examples:
        return "its hidden states count tokens before examples"
    if layer.windows and any(windows > 1 for windows, _ in layer.windows.calls):
        return "its attention takes windows for examples"
    ends = torch.stack([layer.hidden, _random_like(layer.hidden)])
    mixed = (ends[0] + _AT * (ends[1] - ends[0]))[None]
    captured, seen = _watched(layer, torch.cat([ends, mixed, torch.zeros_like(mixed)]))
    recipes = {}
    for part in PARTS:
        recipe = _first_that_fits(part, captured, seen, ends)
        if recipe is None:
            return f"its {part} is neither affine nor norm-then-affine in the hidden states"
        recipes[part] = recipe
    reason = ""
    for probed in _last_before_positions(recipes["key"], captured, projections):
        shortcut = Shortcut(recipes, probed)
        reason = _wrong_place(layer, shortcut)
        if not reason:
            return shortcut
    return reason


def _last_before_positions(
    key: Recipe, captured: Captured, projections: Mapping[nn.Module, int]
) -> Iterator[Mapping[nn.Module, int]]:
    """The modules that positions may act on: the norm of the keys, or (norm after rotation) the matrices."""
    if key.after is not None:
        _, groups, _, dim = captured.key.shape
        yield {**projections, key.after.module: dim if key.after.by_group else groups * dim}
    yield projections


def projections_of(layer: Layer) -> dict[nn.Module, int]:
    """The matrices inside the attention module that run before its attention, with their output sizes."""
    made: dict[nn.Module, Any] = {}
    captured, seen = _watched(layer, layer.hidden[None], made=made)
    tokens = (1, len(layer.hidden))
    inside = set(captured.module.modules()) if captured.module is not None else set()
    found = {}
    for module, given in seen.items():
        weight, output = getattr(module, "weight", None), made[module]
        matrix = weight is not None and weight.ndim == 2 and _epsilon(module) is None
        matrix = matrix and isinstance(output, Tensor)  # a quantized model's gives scales too
        if module in inside and matrix and given.shape[:-1] == tokens and given.is_floating_point():
            found[module] = output.shape[-1]
    return found


# --- rays of given vectors ------------------------------------------------------------------------


def rays(
    layer: Layer, shortcut: Shortcut, vectors: Float[Tensor, "n token dim"]
) -> tuple[Captured, dict[str, Ray]]:
    """Projections of `vectors`, each at its own position, and the rays of query, key and value."""
    shifted = any(recipe.shifted for recipe in shortcut.recipes.values())
    given = torch.cat([vectors, torch.zeros_like(vectors[:1])]) if shifted else vectors
    watched = {norm.module for r in shortcut.recipes.values() for norm in (r.before, r.after) if norm}
    captured, seen = _watched(layer, given, watched)
    found = {}
    for part in PARTS:
        values, recipe = getattr(captured, part), shortcut.recipes[part]
        offset = values[-1:] if recipe.shifted else None
        found[part] = _ray(values[: len(vectors)], offset, recipe, seen, len(vectors))
    return captured, found


def turn_of(layer: Layer, shortcut: Shortcut) -> Turn | None:
    """What positions do to this layer's keys; None if nothing. Raises ValueError if it is no turn."""
    tokens, tables = len(layer.hidden), _tables(layer)
    known, turn = shortcut.turns.get(tokens, ([], None))
    if tokens not in shortcut.turns or not _same(known, tables):
        turn = _probe(layer, shortcut.probed)
        shortcut.turns[tokens] = (tables, turn)
    return turn


def _ray(values: Tensor, offset: Tensor | None, recipe: Recipe, seen: "_Seen", count: int) -> Ray:
    feature = _feature(recipe, seen, count)
    numerator = values if offset is None else values - offset
    if feature is not None:
        numerator = numerator * feature.norm(dim=-1, keepdim=True)
    return Ray(numerator, feature, offset)


def _feature(recipe: Recipe, seen: "_Seen", count: int) -> Tensor | None:
    """ψ of the first `count` vectors of a watched capture, `[n, group or 1, token, feature]`."""
    feature = None
    if recipe.before is not None:
        feature = psi(seen[recipe.before.module][:count], recipe.before)[:, None]
    if recipe.after is None:
        return feature
    own = _grouped(seen[recipe.after.module][:count], recipe.after)
    if feature is None:
        return psi(own, recipe.after)
    own = psi(own * feature.norm(dim=-1, keepdim=True), recipe.after, with_eps=False)
    rest = recipe.after.eps**0.5 * feature
    return torch.cat([own, rest.expand(-1, own.shape[1], -1, -1)], dim=-1)


def psi(
    vectors: Float[Tensor, "*batch dim"], norm: Norm, with_eps: bool = True
) -> Float[Tensor, "*batch feature"]:
    """The feature of a vector whose length is what the norm divides by."""
    if norm.centred:
        vectors = vectors - vectors.mean(dim=-1, keepdim=True)
    vectors = vectors / vectors.shape[-1] ** 0.5
    return nn.functional.pad(vectors, (0, 1), value=norm.eps**0.5) if with_eps else vectors


def _grouped(vectors: Tensor, norm: Norm) -> Tensor:
    """The input of a norm of a projection as `[n, group, token, dim]`."""
    if vectors.ndim == 3:
        return vectors[:, None]
    return vectors.transpose(1, 2) if norm.tokens_first else vectors


# --- recognition ----------------------------------------------------------------------------------

_Seen = dict[nn.Module, Tensor]


def _watched(
    layer: Layer,
    hidden: Tensor,
    modules: set[nn.Module] | None = None,
    made: dict[nn.Module, Any] | None = None,
) -> tuple[Captured, _Seen]:
    """A capture, with the inputs of the layer's leaf modules (or of `modules`) on the way.

    Their outputs are put into `made`.
    """
    seen: _Seen = {}

    def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if args and isinstance(args[0], Tensor):
            seen[module] = args[0]
            if made is not None:
                made[module] = output

    watch = (m for m in layer.module.modules() if (is_leaf(m) if modules is None else m in modules))
    handles = [module.register_forward_hook(note) for module in watch]
    try:
        with torch.no_grad():
            return layer.capture(hidden), seen
    finally:
        for handle in handles:
            handle.remove()


def is_leaf(module: nn.Module) -> bool:
    """Whether a module holds no others, but for those that make its weights."""
    return all(name == "parametrizations" for name, _ in module.named_children())


def _first_that_fits(part: str, captured: Captured, seen: _Seen, ends: Tensor) -> Recipe | None:
    values = getattr(captured, part)
    limit = _LIMIT.get(values.dtype, _FLOAT32_LIMIT)
    for recipe in _hypotheses(values, seen, ends):
        offset = values[3:4] if recipe.shifted else None
        ends_of_part = _ray(values[:2], offset, recipe, seen, 2)
        bare = replace(ends_of_part, offset=None)
        first, last = of_each(bare, lambda one: one[0]), of_each(bare, lambda one: one[1])
        last = replace(last, offset=None if offset is None else offset[0])
        found, _ = along(first, last, torch.tensor([_AT], device=values.device, dtype=values.dtype))
        if float((found[0] - values[2]).norm()) <= limit * float(values[2].norm()):
            return recipe
    return None


def _hypotheses(values: Tensor, seen: _Seen, ends: Tensor) -> Iterator[Recipe]:
    """Simple ones first. A shift is what a norm-then-affine projection makes of 0."""
    together = [module for module in seen if len(seen[module]) == len(values)]  # not one example at a time
    norms = [norm for module in together if (norm := norm_of(module, seen[module])) is not None]
    befores = [
        n for n in norms if seen[n.module].shape[1:] == ends.shape[1:] and _takes(seen[n.module], ends)
    ]
    afters = [n for norm in norms if norm not in befores for n in _placed(norm, seen[norm.module], values)]
    shifted = bool(values[3].abs().max() > 0)
    for after in (None, *afters):
        for before in (None, *befores):
            yield Recipe(before, after, shifted and before is not None and after is None)


def _takes(given: Tensor, ends: Tensor) -> bool:
    return bool(torch.equal(given[: len(ends)], ends))


def _placed(norm: Norm, given: Tensor, values: Tensor) -> list[Norm]:
    """A norm whose input has the numbers of a projection: a group each, or all of them together."""
    _, groups, tokens, dim = values.shape
    shape = tuple(given.shape[1:])
    found = [replace(norm, by_group=True)] if shape == (tokens, groups, dim) else []
    if shape == (groups, tokens, dim):
        found.append(replace(norm, tokens_first=False, by_group=True))
    return [*found, norm] if shape == (tokens, groups * dim) else found


def norm_of(module: nn.Module, given: Tensor) -> Norm | None:
    """The module as a norm: it has an epsilon, and a shift of its input tells if it takes off the mean."""
    eps = _epsilon(module)
    if eps is None or not given.is_floating_point():
        return None
    with torch.no_grad():
        before, after = module(given), module(given + given.abs().mean())
        centred = bool((after - before).norm() <= 1e-2 * before.norm())
        beside = _beside_the_mean(module, given, centred, eps)
    return None if beside is None else Norm(module, centred, beside)


def _beside_the_mean(module: nn.Module, given: Tensor, centred: bool, eps: float) -> float | None:
    """What a norm adds to the mean of squares: its epsilon, or a part of it if that is added to their sum.

    Seen where both count alike; None where the norm does something else to small numbers.
    """
    x = (given - given.mean(-1, keepdim=True) if centred else given).flatten(0, -2)
    x = x[x.square().mean(-1) > eps][:_TRIED].view(-1, *[1] * (given.ndim - 2), x.shape[-1])
    if not len(x) or eps <= 0:
        return eps
    mean = x.square().mean(-1)
    base = module(torch.zeros_like(x))

    def size(scale: Tensor) -> Tensor:
        return (module(scale[..., None] * x) - base).square().sum(-1)

    far, near = size(torch.ones_like(mean)), [size((eps / mean / part).sqrt()) for part in (1, 16)]
    ratio = near[0] / far
    found = float((mean * (1 - ratio) / (ratio * mean / eps - 1)).median())
    known = next((one for one in (eps, eps / x.shape[-1]) if abs(found - one) <= 0.01 * one), found)
    as_said = far * (mean + known) * eps / (mean * (eps + 16 * known))
    return known if known >= 0 and bool(((near[1] - as_said).abs() <= 0.02 * as_said).all()) else None


def _epsilon(module: nn.Module) -> float | None:
    return next((v for name in _EPSILONS if isinstance(v := getattr(module, name, None), float)), None)


def _random_like(hidden: Tensor) -> Tensor:
    """Random token vectors of the same size as those of the layer."""
    noise = _noise(hidden.shape, 0).to(hidden)
    return noise * hidden.square().mean(dim=-1, keepdim=True).sqrt()


# --- positions ------------------------------------------------------------------------------------


def _probe(layer: Layer, probed: Mapping[nn.Module, int]) -> Turn | None:
    """Random outputs of the probed modules, the same at every position, show what positions do to them."""
    captured = _probed(layer, probed)
    if not _same_everywhere(captured.value):
        raise ValueError("its values depend on their position")
    key = captured.key
    if not probed or _same_everywhere(key):
        return None
    turn = fit_turn(key.flatten(0, 1))
    if turn is None:
        raise ValueError("positions change its keys by more than a rotation of pairs of entries")
    return Turn(turn.cos.to(key), turn.sin.to(key), turn.partner)


def _probed(layer: Layer, probed: Mapping[nn.Module, int]) -> Captured:
    outputs = {
        module: _random_outputs(width, number, layer.hidden)
        for number, (module, width) in enumerate(probed.items())
    }
    with torch.no_grad(), standing_in(outputs):
        return layer.capture(torch.zeros_like(layer.hidden).expand(_PROBES, -1, -1))


def _random_outputs(width: int, seed: int, like: Tensor) -> Tensor:
    return _noise((_PROBES, 1, width), seed).to(like)


def _noise(shape: Sequence[int], seed: int) -> Tensor:
    """The same on every device, whatever the default device is."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, device="cpu")


def _same_everywhere(placed: Tensor) -> bool:
    return bool(torch.allclose(placed, placed[:, :, :1], rtol=1e-6, atol=1e-6))


def _tables(layer: Layer) -> list[Tensor]:
    """The arguments that may hold positions: all tensors but masks."""
    return [tensor for tensor in flat_tensors(layer.arguments) if tensor.ndim < 4]


def _same(some: list[Tensor], others: list[Tensor]) -> bool:
    return len(some) == len(others) and all(
        a.shape == b.shape and torch.equal(a, b) for a, b in zip(some, others, strict=True)
    )


def _wrong_place(layer: Layer, shortcut: Shortcut) -> str:
    """Compares keys and values of two targets' own paths with the plain capture; '' if they agree."""
    try:
        turn = turn_of(layer, shortcut)
    except ValueError as error:
        return str(error)
    own = torch.tensor([0, len(layer.hidden) - 1], device=layer.hidden.device)
    paths = (1 - _AT) * layer.hidden[own][:, None] + _AT * layer.hidden
    with torch.no_grad():
        plain = layer.capture(paths)
    _, found = rays(layer, shortcut, layer.hidden[None])
    for part, turned in (("key", turn), ("value", None)):
        theirs, ours = getattr(plain, part), _on_own_paths(found[part], own, turned)
        limit = _LIMIT.get(theirs.dtype, _FLOAT32_LIMIT)
        if not float((ours - theirs).norm()) <= limit * float(theirs.norm()):
            return f"its {part} on a target's own path is not what was predicted"
    return ""


def _on_own_paths(ray: Ray, own: Tensor, turn: Turn | None) -> Tensor:
    """`X_k` at one point of the paths from the vector of each target in `own`."""
    real = of_each(replace(ray, offset=None), lambda part: part[0])
    last = of_each(real, lambda part: part.expand(len(own), *part.shape))
    at_zero = real if turn is None else replace(real, numerator=turn.back(real.numerator))
    first = of_each(at_zero, lambda part: part[:, own].transpose(0, 1)[:, :, None])
    first = of_each(first, lambda part: part.expand(-1, -1, ray.numerator.shape[-2], -1))
    if turn is not None:
        numerator = turn.cos * first.numerator + turn.sin * first.numerator[..., turn.partner]
        first = replace(first, numerator=numerator)
    node = torch.tensor([_AT], device=own.device, dtype=ray.numerator.dtype)
    return along(first, replace(last, offset=ray.offset), node)[0][0]
