"""The path-averaged Jacobian of a segment, applied backwards: `m_{t-1} = (∫ J(v° + a Δv) da)ᵀ m_t`.

Points are those of Gauss and Patterson [patterson1968], 1, 3, 7, 15, 31 and symmetric about 1/2. Where no
token of a segment depends on another, the error of each token is known, `|g_k Δv_k - m_k ΔF_k|`; elsewhere it
is estimated from the changes between three levels, and from the signed sum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.method.quadrature_rules import LEVELS, patterson_nodes, patterson_weights
from ligflow.prediction.segment import Segment, Variable

Cotangents = Mapping[str, Float[Tensor, "row *own"]]
_ROWS = 1024  # tokens of all points that go through a segment at once on a CPU


@dataclass(frozen=True, eq=False)
class Average:
    """The cotangents of a segment's sources, by row of the answer, and how well they are known.

    `error` is the estimated sum over tokens of `|relevance - its true value|`, `residue` what the sources sum
    to less what they should; `carried` the cotangents of errors made above.
    """

    cotangents: Cotangents
    carried: Cotangents
    residue: Float[Tensor, " row"]
    error: Float[Tensor, " row"]
    points: int
    local: Cotangents = field(default_factory=dict)


def average(
    segment: Segment,
    variables: Mapping[str, Variable],
    above: Cotangents,
    carried: Cotangents,
    allowance: Float[Tensor, " row"],
    max_points: int = 31,
    min_points: int = 1,
) -> Average:
    """The averaged Jacobian's transpose on cotangents `above`, at as many points as keep the allowance.

    `carried` are cotangents too, of estimated errors, which are taken at the midpoint alone. Raises
    LigflowError where values on the path are not finite.
    """
    sources = {name: variables[name] for name in segment.sources}
    sought = _sought(segment, variables, above)
    level = max(segment.start, next(n for n in range(LEVELS) if 2 ** (n + 1) - 1 >= min(min_points, 31)))
    points: dict[str, list[Tensor]] = {name: [] for name in sources}
    extra: Cotangents = {}
    done = 0
    while True:
        nodes = torch.from_numpy((patterson_nodes(level) + 1) / 2)
        if done == 0:
            middle, extra = _pulled(segment, sources, above, carried, nodes[:1])
            _add(points, middle)
            done = 1
        for block in nodes[done:].split(_block(sources)) if done < len(nodes) else ():
            _add(points, _pulled(segment, sources, above, {}, block)[0])
        done = len(nodes)
        result = _judged(segment, sources, points, level, sought)
        if (
            bool((result.error <= allowance).all())
            or 2 ** (level + 2) - 1 > max_points
            or level + 1 >= LEVELS
        ):
            break
        level += 1
    return Average(result.cotangents, extra, result.residue, result.error, done, result.local)


def _add(points: dict[str, list[Tensor]], more: Mapping[str, Tensor]) -> None:
    for name, tensor in more.items():
        points[name].append(tensor)


def _block(sources: Mapping[str, Variable]) -> int:
    tokens = max(variable.real.shape[variable.axis] for variable in sources.values())
    return max(1, _ROWS // tokens)


def _pulled(
    segment: Segment, sources: Mapping[str, Variable], above: Cotangents, carried: Cotangents, nodes: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The cotangents of the sources at each of some points `[point, row, ...]`, and those carried."""
    with torch.enable_grad():
        values = {name: variable.at(nodes).detach().requires_grad_() for name, variable in sources.items()}
        images = segment.run(values)
        names = [name for name in segment.images if name in above]
        outputs = [images[name] for name in names]
        for _name, output in zip(names, outputs, strict=True):
            if not torch.isfinite(output).all():
                raise LigflowError(
                    f"{segment.name}: the model gives NaN or infinite values on the path between the two "
                    "runs; choose another reference, or check the weights."
                )
    rows = [{name: above[name][row] for name in names} for row in range(len(above[names[0]]))]
    more = [
        {name: carried[name][row] if name in carried else torch.zeros_like(above[name][0]) for name in names}
        for row in range(_rows(carried))
    ]
    every, pulled = [*rows, *more], []
    for number, row in enumerate(every):
        towards = [row[name].expand_as(output) for name, output in zip(names, outputs, strict=True)]
        again = number + 1 < len(every)
        grads = torch.autograd.grad(
            outputs, [*values.values()], towards, retain_graph=again, allow_unused=True
        )
        pulled.append(
            [torch.zeros_like(v) if g is None else g for v, g in zip(values.values(), grads, strict=True)]
        )
    stacked = {name: torch.stack([of[i] for of in pulled], dim=1) for i, name in enumerate(values)}
    own = {name: tensor[:, : len(rows)] for name, tensor in stacked.items()}
    return own, {name: tensor[0, len(rows) :] for name, tensor in stacked.items()} if more else {}


def _rows(carried: Cotangents) -> int:
    return len(next(iter(carried.values()))) if carried else 0


def _sought(
    segment: Segment, variables: Mapping[str, Variable], above: Cotangents
) -> list[tuple[Variable, Float[Tensor, "row token"]]]:
    """`m ΔF` by row and token: what the sources must sum to."""
    sought = []
    for name in segment.images:
        if name in above:
            variable = variables[name]
            tokens = variable.by_token(above[name].double() * variable.step.double())
            sought.append((variable, tokens if variable.axis >= 0 else tokens[:, None]))
    return sought


def _judged(
    segment: Segment,
    sources: Mapping[str, Variable],
    points: Mapping[str, Sequence[Tensor]],
    level: int,
    sought: list[tuple[Variable, Tensor]],
) -> Average:
    """The averages of one level, and their errors."""
    fine = {name: _weighted(tensors, level) for name, tensors in points.items()}
    coarse = {name: _weighted(tensors, level - 1) for name, tensors in points.items()} if level else fine
    by_token, coarser = _by_token(sources, fine), _by_token(sources, coarse)
    total = sum(tokens.sum(-1) for _, tokens in sought)
    residue = by_token.sum(-1) - total
    nested = (by_token - coarser).abs().sum(-1)
    if segment.tokenwise:
        wanted = _joined(
            [tokens for _, tokens in sought], [variable for variable, _ in sought], by_token.shape[-1]
        )
        error = (by_token - wanted).abs().sum(-1)
    else:
        error = nested
        if level > 1:
            coarsest = {name: _weighted(tensors, level - 2) for name, tensors in points.items()}
            error = _extrapolated((coarser - _by_token(sources, coarsest)).abs().sum(-1), nested)
        error = torch.maximum(error, residue.abs())
    share = torch.where(nested > 0, (error / nested.clamp(min=1e-300)).clamp(max=1), 0)
    local = {
        name: (fine[name] - coarse[name]) * share.to(fine[name]).reshape(-1, *[1] * (fine[name].ndim - 1))
        for name in fine
    }
    return Average(fine, {}, residue, error, 2 ** (level + 1) - 1, local)


def _extrapolated(before: Tensor, nested: Tensor) -> Tensor:
    """The error that is left after two changes between levels, `d₁` and `d₂`: `3 d₂ (d₂ / d₁)^1.5`.

    The rules are exact to degree 1, 5, 11, 23: where errors fall as a power of the degree's growth, the next
    step gains 1.5 times the digits of the last one. Three times that, and no less than a fiftieth of d₂.
    """
    gain = (nested / before.clamp(min=1e-300)).clamp(max=1) ** 1.5
    return nested * (3 * gain).clamp(min=0.02, max=1)


def _weighted(tensors: Sequence[Tensor], level: int) -> Tensor:
    weights = torch.from_numpy(patterson_weights(level) / 2)
    total, at = torch.zeros_like(tensors[0][0]), 0
    for tensor in tensors:
        own = weights[at : at + len(tensor)].to(tensor)
        total = total + torch.tensordot(own, tensor[: len(own)], dims=1) if len(own) else total
        at += len(tensor)
    return total


def _by_token(sources: Mapping[str, Variable], cotangents: Cotangents) -> Float[Tensor, "row token"]:
    """`g Δv` by row and token, all tokens of all streams on one axis."""
    parts = [
        variable.by_token(cotangents[name].double() * variable.step.double())
        for name, variable in sources.items()
    ]
    width = max(variable.offset + variable.real.shape[variable.axis] for variable in sources.values())
    return _joined(parts, list(sources.values()), width)


def _joined(parts: Sequence[Tensor], variables: Sequence[Variable], width: int) -> Tensor:
    total = parts[0].new_zeros(len(parts[0]), width)
    for part, variable in zip(parts, variables, strict=True):
        if variable.axis < 0:
            total[:, 0] += part[:, 0]
        else:
            total[:, variable.offset : variable.offset + part.shape[-1]] += part
    return total
