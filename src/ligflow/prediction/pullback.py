"""Cotangents carried back through a segment at points of a path: `J(v° + a Δv)ᵀ m`."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.prediction.segment import Segment, Variable

Cotangents = Mapping[str, Float[Tensor, "row ..."]]
_ROWS = 1024  # tokens of all points that go through a segment at once


def pulled_back(
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


def points_at_once(sources: Mapping[str, Variable]) -> int:
    """How many points of a path go through a segment together."""
    tokens = max(variable.real.shape[variable.axis] for variable in sources.values())
    return max(1, _ROWS // tokens)
