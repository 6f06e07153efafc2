"""z2z by head through the unmodified layer: plain autograd at what its attention function gives.

The MLP is a module by its name in the family, and beside it passes what is left where its output is held.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from ligflow.layer.interface import Captured, attention_action, plain
from ligflow.layer.layer import Layer
from ligflow.method.quadrature_rules import Rule

MLPS = {
    "albert": "albert_layers.0.ffn_output", "bart": "fc2", "bert": "output.dense", "cohere": "mlp",
    "distilbert": "ffn", "falcon": "mlp", "gemma2": "mlp", "gemma3_text": "mlp", "gpt2": "mlp",
    "gpt_neox": "mlp",
    "gpt_oss": "mlp", "llama": "mlp", "mixtral": "mlp", "modernbert": "mlp", "olmo2": "mlp", "opt": "fc2",
    "qwen3_moe": "mlp", "t5": "layer.2.DenseReluDense",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Split:
    """z2z of a layer by head `[target, head, source]`, of each of its attentions, and past the first."""

    heads: tuple[Tensor, ...]
    residual: Tensor


@contextmanager
def _held(layer: Layer, mlp: str) -> Iterator[None]:
    def hold(_module: object, _args: object, output: Tensor | tuple[Tensor, ...]) -> object:
        return (output[0].detach(), *output[1:]) if isinstance(output, tuple) else output.detach()

    handle = layer.module.get_submodule(mlp).register_forward_hook(hold)
    try:
        yield
    finally:
        handle.remove()


def split_by_brute_force(
    layer: Layer,
    starts: Sequence[Tensor],
    rule: Rule,
    kind: str,
    held: str = "",
    memory: Tensor | None = None,
) -> Split:
    """The parts of all targets, each from its own start, by a rule; `memory` is the start of an encoder's.

    With the name of a module that is `held`, what passes beside it.
    """
    more = [] if memory is None else [(memory, layer.encoded)]
    found = [
        _of_target(layer, target, [(start, layer.hidden), *more], rule, kind, held)
        for target, start in enumerate(starts)
    ]
    by_attention = zip(*(heads for heads, _ in found), strict=True)
    return Split(
        tuple(torch.stack(each) for each in by_attention), torch.stack([residual for _, residual in found])
    )


def _of_target(
    layer: Layer, target: int, paths: Sequence[tuple[Tensor, Tensor]], rule: Rule, kind: str, held: str
) -> tuple[list[Tensor], Tensor]:
    steps = [end - start for start, end in paths]
    first, last = (_run(layer, target, _leaves(paths, a), held)[0].detach() for a in (0.0, 1.0))
    sums = [torch.zeros(()) for _ in range(len(paths) + 1)]
    for a, weight in zip(rule.nodes.tolist(), rule.weights.tolist(), strict=True):
        leaves = _leaves(paths, a)
        with torch.enable_grad():
            image, us = _run(layer, target, leaves, held)
        towards = ((image if kind == "l2" else last) - first).detach()
        scalar = image @ (towards / towards.norm().clamp(min=1e-300))
        pulls = torch.autograd.grad(scalar, us, retain_graph=True)
        heads = [
            (_by_head(u[0, :, target], pull[0, :, target], leaf) * step).sum(-1)
            for u, pull, leaf, step in zip(us, pulls, leaves, steps, strict=True)
        ]
        (whole,) = torch.autograd.grad(scalar, leaves[0])
        passed = (whole * steps[0]).sum(-1) - heads[0].sum(0)
        assert passed.abs().sum() - passed[target].abs() < 1e-9  # nothing but the target passes attention
        sums = [old + weight * new for old, new in zip(sums, [*heads, passed[target]], strict=True)]
    return sums[:-1], sums[-1]


def _leaves(paths: Sequence[tuple[Tensor, Tensor]], a: float) -> list[Tensor]:
    return [(start + a * (end - start)).requires_grad_() for start, end in paths]


def _run(layer: Layer, target: int, leaves: Sequence[Tensor], held: str) -> tuple[Tensor, list[Tensor]]:
    """The target's output, and what each attention gave on the way."""
    us: list[Tensor] = []

    def action(captured: Captured) -> Tensor:
        us.append(plain(captured))
        return us[-1]

    of = layer if len(leaves) == 1 else layer.with_encoded(leaves[1][None])
    with attention_action(action), _held(layer, held) if held else nullcontext():
        return of.forward(leaves[0][None])[0, target], us


def _by_head(u: Tensor, pull: Tensor, leaf: Tensor) -> Tensor:
    scalars = (u * pull).sum(-1)
    return torch.stack([torch.autograd.grad(each, leaf, retain_graph=True)[0] for each in scalars])
