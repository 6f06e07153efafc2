"""The oracle of the chain: averaged Jacobians through the whole model's own forward, hooks at named cuts.

A `Variable` is a tensor of the forward, read at a place of it and put there (or elsewhere) to move it alone;
a `Segment` leads from variables to variables. Each segment is integrated along the straight path between what
the two runs recorded at its sources, by so many Gauss-Legendre points that the rule is exact to rounding:
`m_source += (∫ ∂targets/∂source da)ᵀ m_targets`. It shares no code with `ligflow.prediction`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from ligflow.layer.float64 import keep_double

Score = Callable[[Any], Tensor]  # the model's outputs -> [point]
SCORE = "score"


@dataclass(frozen=True)
class Place:
    """A module's input or output at one of its calls: `key` says which of them, `axis` the points'."""

    module: str
    side: str = "out"
    key: int | str = 0
    call: int = 0
    axis: int = 0


@dataclass(frozen=True)
class Variable:
    """A tensor on the way: where it is read and put, and what must be zero meanwhile to have it alone."""

    name: str
    read: Place
    put: Place | None = None
    silent: tuple[Place, ...] = ()
    token_axis: int = 0  # once the axis of points is taken out
    first_token: int = 0
    stream: str = "tokens"
    node: tuple[str, int] | None = None  # ("heads", layer), ("mlps", layer)

    @property
    def entry(self) -> Place:
        return self.put or self.read

    def by_token(self, product: Tensor) -> Tensor:
        return product.movedim(self.token_axis, 0).flatten(1).sum(1)


@dataclass(frozen=True)
class Segment:
    """From variables to variables; `cut` names what is alive before it, `skip` what a source carries past."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    cut: str = ""
    skip: tuple[str, int, str] | None = None  # ("past attention", layer, source)


@dataclass(frozen=True)
class Program:
    """A model's variables and segments, in the order of its forward."""

    variables: Mapping[str, Variable]
    segments: tuple[Segment, ...]
    heads: int = 1
    embeddings: tuple[str, ...] = ("embeddings",)
    routers: Mapping[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class OracleResult:
    """What the chain should give; a row of `by_depth` for each name in `cuts`, and all sum to the change.

    Encoder-decoders: the encoder's tokens, then the decoder's. `past_attention` is what a token carries past
    a layer's heads (in a parallel layer past its MLP too), `past_mlp` what it carries past the MLP.
    """

    value: float
    reference_value: float
    cuts: list[str]
    by_depth: Tensor
    heads: dict[int, Tensor] = field(default_factory=dict)
    cross_heads: dict[int, Tensor] = field(default_factory=dict)
    mlps: dict[int, Tensor] = field(default_factory=dict)
    past_attention: dict[int, Tensor] = field(default_factory=dict)
    past_cross_attention: dict[int, Tensor] = field(default_factory=dict)
    past_mlp: dict[int, Tensor] = field(default_factory=dict)
    sums: tuple[float, ...] = ()  # after each segment, from the top down
    directions: dict[str, Tensor] = field(default_factory=dict)  # m of each variable
    changes: dict[str, Tensor] = field(default_factory=dict)  # Δ of each variable

    @property
    def change(self) -> float:
        return self.value - self.reference_value

    @property
    def relevance(self) -> Tensor:
        return self.by_depth[0]

    @property
    def scale(self) -> float:
        return max(abs(self.change), float(self.relevance.abs().sum()))


def oracle(
    program: Program,
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    reference: Tensor | Sequence[Tensor],
    score: Score,
    points: int = 64,
    attention: str = "moved",
) -> OracleResult:
    """The chain of a float64 model; `reference` is what each embedding gives (no axis of examples)."""
    starts = [each.detach() for each in ([reference] if isinstance(reference, Tensor) else reference)]
    places = [variable.read for variable in program.variables.values()]
    model.eval().requires_grad_(False)
    held_weights = held_attention(model) if attention == "held" else nullcontext()
    with keep_double(), held_weights, held(model, program, inputs):
        value, real = forward(model, inputs, score, {}, places)
        entries = {
            program.variables[n].entry: s[None] for n, s in zip(program.embeddings, starts, strict=True)
        }
        reference_value, other = forward(model, inputs, score, entries, places)
        runs = {n: (other[v.read][0], real[v.read][0]) for n, v in program.variables.items()}
        chain = _Chain(program, model, inputs, score, runs, points)
        return chain.run(float(value), float(reference_value))


class _Chain:
    """`m` from the score down; `alive` are the variables between the segments above and those below."""

    def __init__(self, program: Program, model: nn.Module, inputs: Any, score: Score, runs: Any, points: int):
        self.program, self.model, self.inputs, self.score = program, model, inputs, score
        self.runs, self.points = runs, points
        self.changes = {name: end - start for name, (start, end) in runs.items()}
        self.alive: dict[str, Tensor] = {SCORE: torch.ones((), dtype=torch.float64)}
        self.directions: dict[str, Tensor] = {}

    def run(self, value: float, reference_value: float) -> OracleResult:
        rows: list[tuple[str, Tensor]] = []
        parts: dict[str, dict[int, Tensor]] = {}
        sums = []
        for segment in reversed(self.program.segments):
            cotangents = {name: self.alive.pop(name) for name in segment.targets if name in self.alive}
            self.directions.update(cotangents)
            if cotangents:
                paths, targets = self._paths(segment), self._targets(cotangents)
                pulled = pulled_back(self.model, self.inputs, self.score, paths, targets, self.points)
                for name, direction in pulled.items():
                    self.alive[name] = self.alive[name] + direction if name in self.alive else direction
                if segment.skip:
                    kind, layer, source = segment.skip
                    parts.setdefault(kind, {})[layer] = self._by_token(source, pulled[source])
            sums.append(sum(float((m * self.changes[n]).sum()) for n, m in self.alive.items()))
            if segment.cut:
                rows.append((segment.cut, self._row()))
        self.directions |= self.alive
        nodes = {name: v.node for name, v in self.program.variables.items() if v.node}
        for name, (kind, layer) in nodes.items():
            direction = self.directions.get(name, torch.zeros_like(self.changes[name]))
            whole = kind in ("heads", "cross heads")
            parts.setdefault(kind, {})[layer] = (
                self._by_head(name, direction) if whole else self._by_token(name, direction)
            )
        names, depths = zip(*reversed(rows), strict=True)
        fields: Any = {kind.replace(" ", "_"): by_layer for kind, by_layer in parts.items()}
        return OracleResult(
            value, reference_value, list(names), torch.stack(depths), sums=tuple(sums),
            directions=self.directions, changes=self.changes, **fields,
        )  # fmt: skip

    def _paths(self, segment: Segment) -> dict[Variable, tuple[Tensor, Tensor]]:
        return {self.program.variables[name]: self.runs[name] for name in segment.sources}

    def _targets(self, cotangents: Mapping[str, Tensor]) -> list[tuple[Place | None, Tensor]]:
        variables = self.program.variables
        return [(None if n == SCORE else variables[n].read, m) for n, m in cotangents.items()]

    def _by_token(self, name: str, direction: Tensor) -> Tensor:
        return self._on_axis(name, self.program.variables[name].by_token(direction * self.changes[name]))

    def _by_head(self, name: str, direction: Tensor) -> Tensor:
        products = (direction * self.changes[name]).unflatten(-1, (self.program.heads, -1))
        return self._on_axis(name, products.sum(-1).T)

    def _on_axis(self, name: str, values: Tensor) -> Tensor:
        """On the axis of all tokens: the streams one after another."""
        counts: dict[str, int] = {}
        for each, variable in self.program.variables.items():
            tokens = variable.first_token + self.changes[each].shape[variable.token_axis]
            counts[variable.stream] = max(counts.get(variable.stream, 0), tokens)
        own = self.program.variables[name]
        before = list(counts).index(own.stream)
        start = sum(list(counts.values())[:before]) + own.first_token
        whole = torch.zeros(*values.shape[:-1], sum(counts.values()), dtype=torch.float64)
        whole[..., start : start + values.shape[-1]] = values
        return whole

    def _row(self) -> Tensor:
        """What is alive here, by token."""
        return torch.stack([self._by_token(name, m) for name, m in self.alive.items()]).sum(0)


def pulled_back(
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    score: Score,
    paths: Mapping[Variable, tuple[Tensor, Tensor]],
    targets: Sequence[tuple[Place | None, Tensor]],
    points: int,
) -> dict[str, Tensor]:
    """`(∫ ∂targets/∂source da)ᵀ m` for each source, all of which move along their straight paths together."""
    nodes, weights = (torch.from_numpy(each) / 2 for each in np.polynomial.legendre.leggauss(points))
    nodes = nodes + 0.5

    def along(each: Tensor, like: Tensor) -> Tensor:
        return each.reshape(-1, *[1] * like.ndim)

    moved = {v: start + along(nodes, start) * (end - start) for v, (start, end) in paths.items()}
    moved = {variable: tensor.requires_grad_() for variable, tensor in moved.items()}
    values = {variable.entry: tensor for variable, tensor in moved.items()}
    silent = [place for variable in moved for place in variable.silent]
    places = [place for place, _ in targets if place]
    total, seen = forward(model, inputs, score, values, places, silent)
    image = sum(((total if p is None else seen[p]) * m).sum() for p, m in targets)
    gradients = torch.autograd.grad(image, list(moved.values()), allow_unused=True)
    return {
        variable.name: torch.zeros_like(paths[variable][0])
        if gradient is None
        else (along(weights, paths[variable][0]) * gradient).sum(0)
        for variable, gradient in zip(moved, gradients, strict=True)
    }


def forward(
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    score: Score,
    put: Mapping[Place, Tensor],
    read: Sequence[Place],
    silent: Sequence[Place] = (),
) -> tuple[Tensor, dict[Place, Tensor]]:
    """The score and what is read, with values put in their places: an example of the batch for each point."""
    points = max((len(value) for value in put.values()), default=1)
    batch = {name: value.expand(points, *value.shape[1:]) for name, value in inputs.items()}
    seen: dict[Place, Tensor] = {}

    def through(place: Place, own: Tensor) -> Tensor:
        if place in put:
            own = put[place].movedim(0, place.axis).reshape(own.shape).clone()
        elif place in silent:
            own = torch.zeros_like(own)
        if place in read:
            flat = own.shape[place.axis] != points  # layers may join examples and tokens to rows
            rows = own.reshape(points, -1, *own.shape[1:]) if flat else own.movedim(place.axis, 0)
            seen[place] = rows.clone()
        return own

    with hooked(model, {*put, *read, *silent}, through):
        total = score(model(**batch))
    assert set(seen) == set(read), f"never called: {set(read) - set(seen)}"
    return total, seen


@contextmanager
def hooked(
    model: nn.Module, places: set[Place], through: Callable[[Place, Tensor], Tensor]
) -> Iterator[None]:
    """Each place's tensor goes `through(place, tensor)` on its way."""
    calls: dict[str, int] = {}

    def before(name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> Any:
            calls[name] = calls.get(name, -1) + 1
            values: dict[int | str, Any] = {**dict(enumerate(args)), **kwargs}
            for place in at(name, "in"):
                values[place.key] = through(place, values[place.key])
            return tuple(values[i] for i in range(len(args))), {key: values[key] for key in kwargs}

        return hook

    def after(name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            items = list(output) if isinstance(output, tuple) else [output]
            for place in at(name, "out"):
                items[int(place.key)] = through(place, items[int(place.key)])
            return tuple(items) if isinstance(output, tuple) else items[0]

        return hook

    def at(name: str, side: str) -> list[Place]:
        return [p for p in places if (p.module, p.side, p.call) == (name, side, calls[name])]

    with ExitStack() as stack:
        for name in sorted({place.module for place in places}):
            module = model.get_submodule(name)
            stack.enter_context(module.register_forward_pre_hook(before(name), with_kwargs=True))
            stack.enter_context(module.register_forward_hook(after(name)))
        yield


@contextmanager
def held_attention(model: Any) -> Iterator[None]:
    """Every attention has the weights of the first run, whatever its queries and keys."""
    first: dict[nn.Module, Tensor] = {}

    def attention(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **form: Any
    ) -> Any:
        if module not in first:
            keys = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
            scores = query @ keys.transpose(2, 3) * form.get("scaling", query.shape[-1] ** -0.5)
            first[module] = (scores if mask is None else scores + mask).softmax(-1)
        values = value.repeat_interleave(query.shape[1] // value.shape[1], dim=1)
        return (first[module] @ values).transpose(1, 2), None

    AttentionInterface.register("oracle", attention)
    AttentionMaskInterface.register("oracle", eager_mask)
    own = model.config._attn_implementation
    model.set_attn_implementation("oracle")
    try:
        yield
    finally:
        model.set_attn_implementation(own)


@contextmanager
def held(model: nn.Module, program: Program, inputs: Mapping[str, Tensor]) -> Iterator[None]:
    """Every router's choice as in the real run; its weights are those of the choice, and move."""
    choices: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            choices[name] = output[2]

        return hook

    def hold(name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            logits, choice = output[0], choices[name].repeat(len(output[0]) // len(choices[name]), 1)
            return logits, program.routers[name](module, logits, choice), choice

        return hook

    for register in (keep, hold):
        with ExitStack() as stack:
            for name in program.routers:
                hook = register(name)
                stack.enter_context(model.get_submodule(name).register_forward_hook(hook))
            if register is keep:
                model(**inputs)
            else:
                yield
