"""What `torch.compile` would bring: the part of a layer behind its attention, as it is and compiled.

    python benchmarks/compiled.py [--threads 1]

One forward and backward pass of as many rows at once as a route hands on: 46 targets at 1, 3, 7 and 10 points
of MiniLM's first layer. Beside it stand its products alone, at the rate of one as large, measured in turns.
Compilation needs a C++ compiler; what it takes at first is a row of its own.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import measure
import subjects
from measure import Row, number, text

TARGETS, POINTS = 46, (1, 3, 7, 10)
COLUMNS: measure.Columns = {
    "what": text("what"),
    "rows": number("rows", "d"),
    "as it is, ms": number("eager", ".2f"),
    "compiled, ms": number("compiled", ".2f"),
    "times": number("times", ".2f"),
    "products, ms": number("products", ".2f"),
    "of them, as it is": number("fraction", ".2f"),
}


class AfterAttention(nn.Module):
    """The output projection of attention, and the MLP, each with its norm."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.attended, self.widened, self.narrowed = layer.attention.output, layer.intermediate, layer.output

    def forward(self, u: Tensor, z: Tensor) -> Tensor:
        """The layer's output from what its heads gave and from its input."""
        between = self.attended(u, z)
        output: Tensor = self.narrowed(self.widened(between), between)
        return output


def main(
    threads: measure.Threads = 1,
    repeats: measure.Repeats = 30,
    tiny: measure.Tiny = False,
    out: measure.Out = None,
) -> None:
    """Measure a layer's part behind its attention, as it is and compiled."""
    device = measure.place("cpu", threads)
    explainer, shape = subjects.minilm(device)
    model: Any = explainer.model
    part = AfterAttention(model.encoder.layer[0]).eval().requires_grad_(False)
    compiled = torch.compile(part, dynamic=True, backend="eager" if tiny else "inductor")
    begin = time.perf_counter()
    _pass(compiled, TARGETS + 1, shape.dim)()
    first = time.perf_counter() - begin
    rows = [
        _row(part, compiled, TARGETS * points, shape, repeats) for points in (POINTS[:1] if tiny else POINTS)
    ]
    caption = f"Medians. The first compiled call took {first:.0f} s."
    settings = {"repeats": repeats, "tiny": tiny, "first_seconds": first}
    measure.report("compiled", out, measure.machine(device), settings, rows, COLUMNS, caption)


def _row(part: nn.Module, compiled: Any, rows: int, shape: subjects.Shape, repeats: int) -> Row:
    left, right = torch.randn(rows, shape.dim), torch.randn(shape.dim, shape.mlp_dim)
    runs = [_pass(part, rows, shape.dim), _pass(compiled, rows, shape.dim), lambda: left @ right]
    eager, ours, product = (1000 * each for each in measure.medians(runs, left.device, repeats))
    products = product * 2 * shape.after_attention() / (shape.dim * shape.mlp_dim)
    return {
        "what": "MiniLM", "rows": rows, "eager": eager, "compiled": ours, "times": ours / eager,
        "products": products, "fraction": products / eager,
    }  # fmt: skip


def _pass(part: Any, rows: int, dim: int) -> Callable[[], object]:
    """A forward and backward pass to both inputs."""
    u, z, towards = (torch.randn(1, rows, dim) for _ in range(3))

    def once() -> object:
        inputs = [each.detach().requires_grad_() for each in (u, z)]
        return torch.autograd.grad(part(*inputs), inputs, towards)

    return once


if __name__ == "__main__":
    measure.run(main)
