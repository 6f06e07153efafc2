"""The chain: cotangents of the score, carried from the answer down to the input, segment by segment.

    m_S = 1,   m_{t-1} = (∫ J_{F_t}(h° + a Δh) da)ᵀ m_t,   R_t[k] = m_t[k] . Δh_t[k]

By completeness `∫ J da Δh_{t-1} = Δh_t` [sundararajan2017], component by component, so that `Σ_k R_t[k]` is
the change of the score between the two runs at every cut. Multipliers that are chained through a network are
DeepLIFT's [shrikumar2017]; here each is an average over a path.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ligflow.prediction.answer_rows import source_by_row
from ligflow.prediction.attention_switch import AttentionSwitch
from ligflow.prediction.path_average import Average, average
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.pullback import Cotangents
from ligflow.prediction.routing import routed_average
from ligflow.prediction.segment import Segment

Report = Callable[[int, int], None]
FEWEST = 3  # points of a segment that is not affine
_AHEAD = 3  # the level up to which points may go through a segment before they are known to be needed


@dataclass(frozen=True, eq=False)
class Graph:
    """The segments of a model between two runs, in the order of the model, with their path variables.

    `cuts` names the places between segments at which relevance by token is read: the number of segments
    before each.
    """

    segments: Sequence[Segment]
    variables: Mapping[str, Variable]
    cuts: Sequence[tuple[str, int]]
    tokens: int
    score: str = "score"

    @property
    def by_row(self) -> bool:
        """Whether rows of an answer are examples to the head alone."""
        *_, head = self.segments
        few = head.few is not None and self.variables[self.score].rows
        return few and not self.variables[head.sources[0]].rows

    def of_rows(self, rows: Sequence[int]) -> "Graph":
        """The graph of some rows of an answer that the head takes as examples."""
        *others, head = self.segments
        assert head.few is not None
        own = torch.tensor(rows)
        score = self.variables[self.score].only(own)
        few = replace(head, few=head.few.only(own))
        return replace(self, segments=[*others, few], variables={**self.variables, self.score: score})


@dataclass(frozen=True, eq=False)
class Accuracy:
    """How exact the chain is to be: `tol` of the scale in all, at no more than `max_points` a segment.

    With `points` every segment takes that many (3, 7, 15 or 31), whatever its error. With `apart` only the
    segments of these numbers are as exact as that, the others take the fewest points, as for an estimate of
    how long it takes.
    """

    tol: float = 1e-3
    max_points: int = 511
    points: int | None = None
    apart: frozenset[int] | None = None

    def points_of(self, number: int) -> int | None:
        """The points of a segment; None: as many as it needs."""
        return self.points if self.apart is None or number in self.apart else FEWEST


@dataclass(eq=False)
class Chain:
    """What the chain gives, by row of the answer.

    `at_images` are cotangents of what each segment gives, `at_sources` those of what it takes (through this
    segment alone), by number of the segment and name of the variable.
    """

    by_depth: Float[Tensor, "row cut token"]
    late: Float[Tensor, "row cut token"]
    error: Float[Tensor, "row token"]
    averages: list[Average | None]
    allowances: list[Tensor]
    at_images: list[Cotangents] = field(default_factory=list)

    def only(self, rows: Tensor) -> "Chain":
        """The chain of some rows."""
        return Chain(
            self.by_depth[rows], self.late[rows], self.error[rows],
            [None if average is None else average.only(rows) for average in self.averages],
            [allowance[rows] for allowance in self.allowances],
            [{name: tensor[rows] for name, tensor in images.items()} for images in self.at_images],
        )  # fmt: skip

    def with_rows(self, rows: Tensor, new: "Chain") -> "Chain":
        """The chain with some rows anew."""
        return Chain(
            _put(rows, self.by_depth, new.by_depth), _put(rows, self.late, new.late),
            _put(rows, self.error, new.error),
            [
                before if before is None or after is None else before.with_rows(rows, after)
                for before, after in zip(self.averages, new.averages, strict=True)
            ],
            [_put(rows, *both) for both in zip(self.allowances, new.allowances, strict=True)],
            [
                {name: _put(rows, tensor, after[name]) for name, tensor in before.items()}
                for before, after in zip(self.at_images, new.at_images, strict=True)
            ],
        )  # fmt: skip


def _put(rows: Tensor, tensor: Tensor, new: Tensor) -> Tensor:
    return tensor.index_copy(0, rows.to(tensor.device), new)


def chain(
    graph: Graph,
    change: Float[Tensor, " row"],
    accuracy: Accuracy,
    model: nn.Module,
    report: Report | None = None,
    of_rows: Callable[[Sequence[int]], Graph] | None = None,
) -> Chain:
    """Relevance from the score down to the input; once more, and more exactly, where errors add up.

    `change` is the change of each score between the two runs. Where rows are examples, `of_rows` gives the
    graph of some of them, so that those with errors go through it once more alone; so do rows of an answer.
    """
    if of_rows is None and graph.by_row:
        of_rows = graph.of_rows
    with AttentionSwitch(model) as attention:
        return _chain(graph, change, accuracy, attention, report, of_rows)


def _chain(
    graph: Graph,
    change: Tensor,
    accuracy: Accuracy,
    attention: AttentionSwitch,
    report: Report | None,
    of_rows: Callable[[Sequence[int]], Graph] | None,
) -> Chain:
    result = _once(graph, change, accuracy, torch.ones_like(change), attention, report)
    if accuracy.points is not None or accuracy.apart is not None:
        return result
    scale = torch.maximum(change.abs(), result.by_depth[:, 0].abs().sum(-1))
    enough = (accuracy.tol * scale).clamp(min=1e-300)
    excess = result.error.sum(-1) / enough
    helped = (excess > 1) & (_out_of_reach(result) <= enough)
    if not bool(helped.any()):
        return result
    rows, tightness = helped.nonzero()[:, 0], torch.where(helped, 0.5 / excess, 1)
    if of_rows is None:
        new = _once(graph, change, accuracy, tightness, attention, report).only(rows)
    else:
        new = _once(of_rows(rows.tolist()), change[rows], accuracy, tightness[rows], attention, report)
    better = new.error.sum(-1) < result.error.sum(-1)[rows]
    return result.with_rows(rows[better], new.only(better))


def _out_of_reach(result: Chain) -> Float[Tensor, " row"]:
    """What segments are off that took all points they may: no tighter allowance makes that less."""
    errors = [
        torch.where(average.error > allowance, average.error, 0)
        for average, allowance in zip(result.averages, result.allowances, strict=True)
        if average is not None
    ]
    return torch.stack(errors).sum(0)


def _once(
    graph: Graph,
    change: Tensor,
    accuracy: Accuracy,
    tightness: Tensor,
    attention: AttentionSwitch,
    report: Report | None,
) -> Chain:
    rows, count = len(change), len(graph.segments)
    above: dict[str, Tensor] = {graph.score: _unit(graph.variables[graph.score], rows)}
    carried: dict[str, Tensor] = {}
    signs = torch.Generator().manual_seed(0)
    scale, spent = change.abs(), torch.zeros_like(change)
    averages: list[Average | None] = [None] * count
    allowances: list[Tensor] = [torch.zeros(rows)] * count
    at_images: list[Cotangents] = [{}] * count
    by_cut: dict[int, tuple[Tensor, Tensor]] = {}
    ended: dict[str, int] = {}  # the level of the last segment of each kind
    alive = _relevance(graph, above)
    if report is not None:
        report(0, count)  # the two runs took their own time
    for number in reversed(range(count)):
        segment = graph.segments[number]
        scale = torch.maximum(scale, alive[0].abs().sum(-1))
        allowance = _allowance(scale, spent, accuracy.tol * tightness, number + 1, count)
        at_images[number] = {name: above.pop(name) for name in segment.images if name in above}
        at_carried = {name: carried.pop(name) for name in segment.images if name in carried}
        if at_images[number]:
            attention.to(segment.implementation)
            limits = accuracy.max_points, accuracy.points_of(number)
            likely = replace(segment, ahead=ended.get(segment.kind, 0))
            result = _average(graph, likely, at_images[number], at_carried, allowance, *limits)
            ended[segment.kind] = min(int(result.points.min()).bit_length() - 1, _AHEAD)
            _join(above, result.cotangents)
            _join(carried, result.carried)
            _join(carried, _with_sign(result.local, signs, known=segment.tokenwise))
            spent = spent + (result.error / (accuracy.tol * tightness * scale).clamp(min=1e-300)).square()
            averages[number], allowances[number] = replace(result, local={}, carried={}), allowance
            alive = _relevance(graph, above)
        by_cut[number] = alive
        if report is not None:
            report(count - number, count)
    by_cut[count] = by_cut.get(count, by_cut[0])
    at = [by_cut[before] for _, before in graph.cuts]
    error = _relevance(graph, carried)[0].abs() if carried else torch.zeros_like(at[0][0])
    return Chain(
        torch.stack([both for both, _ in at], 1), torch.stack([late for _, late in at], 1),
        no_less_than_missing(error, at[0][0], change), averages, allowances, at_images,
    )  # fmt: skip


def no_less_than_missing(
    error: Float[Tensor, "row token"], relevance: Float[Tensor, "row token"], change: Float[Tensor, " row"]
) -> Float[Tensor, "row token"]:
    """Errors that sum to no less than what the sum of relevance is off, `|Σ R - Δs|`.

    Tokens cannot be off by less in all. What errors lack of it they share by the size of their relevance.
    """
    missing = (relevance.sum(-1) - change.to(relevance)).abs() - error.sum(-1)
    return error + missing.clamp(min=0)[:, None] * functional.normalize(relevance.abs(), p=1, dim=-1)


def _average(
    graph: Graph,
    segment: Segment,
    above: Cotangents,
    carried: Cotangents,
    allowance: Tensor,
    max_points: int,
    points: int | None,
) -> Average:
    over_path = routed_average if segment.choices else average
    variables = source_by_row(segment, graph.variables)
    if points is None:
        return over_path(segment, variables, above, carried, allowance, max_points)
    pinned = torch.full_like(allowance, torch.inf)
    begun = replace(segment, start=0)  # at the points that are pinned, be they fewer than usual
    return over_path(begun, variables, above, carried, pinned, points, points)


def _unit(score: Variable, rows: int) -> Tensor:
    if score.rows:
        return torch.ones_like(score.real)
    return torch.eye(rows, dtype=score.real.dtype, device=score.real.device)


def _allowance(scale: Tensor, spent: Tensor, tol: Tensor, left: int, count: int) -> Tensor:
    """What a segment's error may be: of `tol scale` twice an even share, less where much was spent.

    Errors of segments are taken to add as squares; a fifth is kept for the last ones.
    """
    even = 2 * tol * scale / count**0.5
    rest = (1 - spent).clamp(min=0.2)
    return torch.minimum(even, tol * scale * (rest / left).sqrt())


def _join(into: dict[str, Tensor], more: Mapping[str, Tensor]) -> None:
    for name, tensor in more.items():
        into[name] = into[name] + tensor if name in into else tensor


def _with_sign(local: Cotangents, signs: torch.Generator, known: bool) -> Cotangents:
    """Errors with a random sign, where they have none that is known."""
    sign = 1 - 2 * int(torch.randint(2, (), generator=signs))
    sign = 1 if known else sign
    return {name: tensor * sign for name, tensor in local.items()}


def _relevance(graph: Graph, cotangents: Cotangents) -> tuple[Float[Tensor, "row token"], Tensor]:
    """`m Δv` by row and token of all variables alive at a cut, and of those that are no hidden states."""
    rows = len(next(iter(cotangents.values())))
    both = torch.zeros(rows, graph.tokens, dtype=torch.float64)
    late = torch.zeros_like(both)
    for name, cotangent in cotangents.items():
        variable = graph.variables[name]
        if variable.axis < 0:
            continue
        part = variable.by_token(cotangent.double() * variable.step.double()).cpu()
        at = slice(variable.offset, variable.offset + part.shape[-1])
        both[:, at] += part
        if variable.late:
            late[:, at] += part
    return both, late
