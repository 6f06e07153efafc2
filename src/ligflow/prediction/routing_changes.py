"""Where routers choose other experts on the path of a segment, and along which direction.

Each change is closed in on with the router alone. Where no token depends on another, every token has changes
of its own, and stands at points of its own meanwhile; else there is one path for all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.layer.experts import choices_at
from ligflow.method.changes import narrowed, stretches_of_change
from ligflow.prediction.path_variable import Values, Variable
from ligflow.prediction.pullback import points_at_once
from ligflow.prediction.segment import Segment

_ROUNDS = {torch.float64: 8, torch.float32: 3}  # of closing in, to widths far above rounding
_APART = {torch.float64: 1e-10, torch.float32: 3e-5}  # changes that are nearer than this are one
_MOST = 64  # changes of a place in one stretch and the next: more than this flicker by rounding


class Unlocated(LigflowError):
    """Changes that cannot be closed in on, and why."""


@dataclass(frozen=True, eq=False)
class Choices:
    """What is chosen at points of the places' paths, call by call, and among which scores."""

    indices: list[Int[Tensor, "point place _ _"]]
    scores: list[Float[Tensor, "point place _ _"]]

    def key(self, ordered: bool) -> Int[Tensor, "point place number"]:
        """All that is chosen, in the order of scores or in none."""
        return torch.cat([_compared(each, ordered).flatten(2) for each in self.indices], dim=-1)


@dataclass(frozen=True, eq=False)
class RoutedPath:
    """The path of a segment that chooses experts, one of its own for each of its places.

    With `ordered` it counts which expert is first, too: an attention with experts has heads by their order.
    """

    segment: Segment
    sources: Mapping[str, Variable]
    ordered: bool = False

    @property
    def tokens(self) -> int:
        """The tokens of the segment."""
        return max(variable.count for variable in self.sources.values() if variable.axis >= 0)

    @property
    def places(self) -> int:
        """How many paths there are: one for each token, or one."""
        return self.tokens if self.segment.tokenwise else 1

    @property
    def dtype(self) -> torch.dtype:
        """The type in which the segment is computed."""
        return next(iter(self.sources.values())).real.dtype

    def spread(self, variable: Variable, by_place: Float[Tensor, "... place"]) -> Tensor:
        """Numbers of places, in the shape of a variable of theirs."""
        if self.places == 1 or variable.axis < 0:
            return (
                by_place[..., :1].reshape(*by_place.shape[:-1], *[1] * variable.real.ndim).to(variable.real)
            )
        axes = [by_place.shape[-1] if axis == variable.axis else 1 for axis in range(variable.real.ndim)]
        return by_place.reshape(*by_place.shape[:-1], *axes).to(variable.real)

    def by_place(self, variable: Variable, products: Float[Tensor, "..."]) -> Float[Tensor, "... place"]:
        """Products of numbers of a variable, summed by place."""
        tokens = variable.by_token(products)
        if variable.axis < 0:
            return tokens.double()[..., None]
        return tokens if self.places > 1 else tokens.sum(-1, keepdim=True)

    def at(self, nodes: Float[Tensor, "point place"]) -> dict[str, Tensor]:
        """`v(a) = v° + a Δv`, each place at points of its own."""
        return {
            name: variable.reference + self.spread(variable, nodes) * variable.step
            for name, variable in self.sources.items()
        }

    def choices(self, values: Values) -> Choices:
        """What the routers choose for these values, without what follows them.

        Raises Unlocated where the places do not choose by themselves.
        """
        points = len(next(iter(values.values())))
        by_call = choices_at(lambda: self.segment.run(values), self.segment.choices, points)
        if by_call is None or any(rows % self.places for rows in self.segment.choices):
            raise Unlocated("its choices are not those of its tokens")

        def placed(tensor: Tensor) -> Tensor:
            return tensor.unflatten(1, (self.places, -1))

        return Choices([placed(i) for i, _ in by_call], [placed(s) for _, s in by_call])

    def key_at(self, nodes: Float[Tensor, "point place"]) -> Int[Tensor, "point place number"]:
        """What is chosen at points."""
        with torch.no_grad():
            blocks = nodes.split(points_at_once(self.sources))
            return torch.cat([self.choices(self.at(block)).key(self.ordered) for block in blocks])


@dataclass(frozen=True, eq=False)
class Stops:
    """Where the paths of places are cut: just before and just after each stop.

    All places have as many stops; those that are no `change` only cut a long piece.
    """

    low: Float[Tensor, "stop place"]
    high: Float[Tensor, "stop place"]
    change: Bool[Tensor, "stop place"]


def stops_of(path: RoutedPath, looks: int) -> Stops:
    """The changes on the paths, after so many looks at each, from 0 to 1.

    Raises Unlocated where they cannot be closed in on.
    """
    device = next(iter(path.sources.values())).real.device
    points = torch.linspace(0, 1, looks + 1, dtype=torch.float64, device=device)
    chosen = path.key_at(points[:, None].expand(-1, path.places)).transpose(0, 1)
    places, stretches = stretches_of_change(points, chosen)

    def choose(of: Tensor, edges: Tensor) -> Tensor:
        if len(of) > _MOST * max(1, len(first)):
            raise Unlocated("choices flicker along the path")
        return _of_stretches(path, of, edges)

    first = places
    if len(places):
        places, stretches = narrowed(choose, places, stretches, _ROUNDS[path.dtype])
        places, stretches = _joined(places, stretches, _APART[path.dtype])
        ends = _of_stretches(path, places, stretches)
        differ = (ends[:, 0] != ends[:, 1]).any(-1)
        margin = stretches.new_tensor([-0.5, 0.5]) * (stretches[:, 1:] - stretches[:, :1])
        places, stretches = places[differ], (stretches + margin).clamp(0, 1)[differ]
    return _stops(path.places, places, stretches)


def _of_stretches(path: RoutedPath, places: Tensor, edges: Tensor) -> Tensor:
    """The choices of places, in their order, at points, of which as many as possible go together."""
    turn = torch.arange(len(places), device=places.device) - torch.searchsorted(places, places)
    turns = int(turn.max()) + 1
    nodes = edges.new_full((turns, path.places, edges.shape[1]), 0.5)
    nodes[turn, places] = edges
    keys = path.key_at(nodes.transpose(1, 2).flatten(0, 1)).unflatten(0, (turns, -1))
    return keys[turn, :, places]


def _joined(places: Tensor, stretches: Tensor, apart: float) -> tuple[Tensor, Tensor]:
    """Stretches of a place that are nearer than this as one: rounding makes choices flicker."""
    joined: list[tuple[int, float, float]] = []
    for place, (low, high) in zip(places.tolist(), stretches.tolist(), strict=True):
        if joined and joined[-1][0] == place and low - joined[-1][2] < apart:
            joined[-1] = (place, joined[-1][1], high)
        else:
            joined.append((place, low, high))
    ends = [[low, high] for _, low, high in joined]
    return places.new_tensor([place for place, _, _ in joined]), stretches.new_tensor(ends)


def _stops(count: int, places: Tensor, stretches: Tensor) -> Stops:
    """As many stops for every place: the longest pieces of those with fewer are halved."""
    own: list[list[tuple[float, float, bool]]] = [[] for _ in range(count)]
    for place, (low, high) in zip(places.tolist(), stretches.tolist(), strict=True):
        own[place].append((low, high, True))
    most = max(len(each) for each in own)
    for each in own:
        while len(each) < most:
            starts, ends = [0.0, *(high for _, high, _ in each)], [*(low for low, _, _ in each), 1.0]
            widths = [end - start for start, end in zip(starts, ends, strict=True)]
            at = widths.index(max(widths))
            middle = (starts[at] + ends[at]) / 2
            each.insert(at, (middle, middle, False))
    both = stretches.new_tensor([[stop[:2] for stop in each] for each in own]).reshape(count, most, 2)
    kinds = [[stop[2] for stop in each] for each in own]
    change = torch.tensor(kinds, dtype=torch.bool, device=stretches.device)
    return Stops(both[..., 0].T, both[..., 1].T, change.reshape(count, most).T)


@dataclass(frozen=True, eq=False)
class Directions:
    """Of every stop the gradient of the gap `g` of two scores, how fast it moves along, and whose it is.

    `slope` is `∇g . Δv`; `owner` the share that each token has in a change, where all have one path.
    """

    gradients: Mapping[str, Float[Tensor, "stop *own"]]
    slope: Float[Tensor, "stop place"]
    owner: Float[Tensor, "stop token"]
    tangential: Bool[Tensor, "stop place"]


def directions_of(path: RoutedPath, stops: Stops) -> Directions:
    """`∇g` at every stop: of the scores of what is chosen after it, less those of what was chosen before.

    Of several choices that change at once, it is the first that the model makes: the others follow it.
    Raises Unlocated where the scores have no gradient.
    """
    parts = [
        _directions(path, low, high, change)
        for low, high, change in zip(
            *(each.split(points_at_once(path.sources)) for each in (stops.low, stops.high, stops.change)),
            strict=True,
        )
    ]
    gradients = {name: torch.cat([part[0][name] for part in parts]) for name in path.sources}
    owner = torch.cat([part[1] for part in parts])
    slope, gradient, motion = (torch.zeros_like(stops.low) for _ in range(3))
    for name, variable in path.sources.items():
        here, step = gradients[name].double(), variable.step.double()
        slope = slope + path.by_place(variable, here * step)
        gradient = gradient + path.by_place(variable, here.square())
        motion = motion + path.by_place(variable, step.square())
    least = torch.finfo(path.dtype).eps ** 0.5 * (gradient * motion).sqrt()
    return Directions(gradients, slope, owner, stops.change & (slope.abs() <= least))


def _directions(
    path: RoutedPath, low: Tensor, high: Tensor, change: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    with torch.no_grad():
        before, after = (path.choices(path.at(each)).indices for each in (low, high))
    with torch.enable_grad():
        values = {name: each.requires_grad_() for name, each in path.at((low + high) / 2).items()}
        scores = path.choices(values).scores
        total, waiting = low.new_zeros(()), change
        owner = low.new_zeros(len(low), path.tokens)
        for score, *both in zip(scores, before, after, strict=True):
            old, new = (_compared(each, path.ordered) for each in both)
            others = (old != new).any(-1) & waiting[..., None]
            gaps = _gaps(score, old, new)
            total = total + gaps[others].sum()
            owner += _by_token(path, others)
            waiting = waiting & ~others.any(-1)
        if not total.requires_grad:
            raise Unlocated("the scores among which it chooses have no gradient")
        gradients = torch.autograd.grad(total, list(values.values()), allow_unused=True)
    owner = owner / owner.sum(-1, keepdim=True).clamp(min=1)
    zeros = [torch.zeros_like(v) if g is None else g for v, g in zip(values.values(), gradients, strict=True)]
    return dict(zip(values, zeros, strict=True)), owner


def _compared(indices: Int[Tensor, "*row choice"], ordered: bool) -> Int[Tensor, "*row choice"]:
    return indices if ordered else indices.sort(-1).values


def _gaps(score: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """How far what is chosen now is above what was; where only their order changes, the first that moves."""
    first = (old != new).long().argmax(-1, keepdim=True)
    moved = [score.gather(-1, each.gather(-1, first))[..., 0] for each in (new, old)]
    both = [score.gather(-1, each).sum(-1) for each in (new, old)]
    same = (old.sort(-1).values == new.sort(-1).values).all(-1)
    return torch.where(same, moved[0] - moved[1], both[0] - both[1])


def _by_token(path: RoutedPath, others: Bool[Tensor, "stop place row"]) -> Float[Tensor, "stop token"]:
    """How many rows of each token change."""
    rows = others.flatten(1).double()
    tokens = torch.arange(rows.shape[-1], device=rows.device) * path.tokens // rows.shape[-1]
    return rows.new_zeros(len(rows), path.tokens).index_add(-1, tokens, rows)
