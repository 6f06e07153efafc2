"""Where a path starts, and the two corrections of an `itb` row (the paper calls it a column).

A path is straight, `x_k(a) = x_k(0) + a (x_k - x_k(0))`. Its start is shared by all targets
(`zero`, `mean`, the caller's vectors) or belongs to one target j (`itb`: every x_k(0) = z_j).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow import names
from ligflow.errors import LigflowError

SOURCE_NAMES = tuple(names.HEAD_BASELINES.values())
LAYER_NAMES = tuple(names.LAYER_BASELINES.values())
ENCODER_NAMES = tuple(names.ENCODER_BASELINES.values())
MLP_NAMES = tuple(names.MLP_BASELINES.values())

Baseline = str | Tensor


@dataclass(frozen=True, eq=False)
class Start:
    """The start of a path: `vectors[k]` for source k, or `vectors[j]` for every source of target j."""

    vectors: Float[Tensor, "token dim"]
    per_target: bool


def source_start(
    baseline: Baseline, z: Float[Tensor, "token dim"], visible: Int[Tensor, " visible"]
) -> Start:
    """The start named by an ATT or layer baseline; `mean` averages the `visible` (unpadded) tokens.

    Raises LigflowError for a tensor that is neither `[T, D]` nor `[D]`, or holds NaN.
    """
    if isinstance(baseline, Tensor):
        return Start(_custom(baseline, z, visible), per_target=False)
    if baseline == "zero":
        return Start(torch.zeros_like(z), per_target=False)
    if baseline == "mean":
        return Start(z[visible].mean(dim=0).expand_as(z).contiguous(), per_target=False)
    return Start(z, per_target=True)


def _custom(
    baseline: Tensor, z: Float[Tensor, "token dim"], visible: Int[Tensor, " visible"]
) -> Float[Tensor, "token dim"]:
    tokens, dim = len(visible), z.shape[1]
    if tuple(baseline.shape) not in ((tokens, dim), (dim,)):
        raise LigflowError(
            f"A baseline tensor of shape {tuple(baseline.shape)} does not fit: this input has "
            f"{tokens} tokens of size {dim}, so pass shape ({tokens}, {dim}) or ({dim},)."
        )
    if not torch.isfinite(baseline).all():
        raise LigflowError("The baseline tensor holds NaN or infinite entries; pass finite numbers.")
    vectors = torch.zeros_like(z)
    vectors[visible] = baseline.to(z)
    return vectors


def cross_start(
    baseline: Baseline, memory: Float[Tensor, "memory dim"], visible: Int[Tensor, " visible"]
) -> Float[Tensor, "memory dim"]:
    """Where the memory starts: `mean` of its `visible` (unpadded) tokens, `zero`, or the caller's `[D]`.

    Raises LigflowError for a tensor that is not one finite vector.
    """
    if isinstance(baseline, Tensor):
        if tuple(baseline.shape) != memory.shape[1:] or not torch.isfinite(baseline).all():
            raise LigflowError(
                f"encoder_baseline is a tensor of shape {tuple(baseline.shape)}; it must be one finite "
                f"vector of size {memory.shape[1]}, at which every token of the encoder starts."
            )
        return baseline.to(memory).expand_as(memory)
    if baseline == "zero":
        return torch.zeros_like(memory)
    return memory[visible].mean(dim=0).expand_as(memory).contiguous()


def own_path(
    start: Start,
    z: Float[Tensor, "token dim"],
    nodes: Float[Tensor, " node"],
    targets: Int[Tensor, " target"],
) -> Float[Tensor, "node target dim"]:
    """`z_j(a)`: the target's own stream on the path (constant under `itb`)."""
    first, step = start.vectors[targets], (z - start.vectors)[targets]
    return first + nodes[:, None, None] * step


def source_paths(
    start: Start,
    z: Float[Tensor, "token dim"],
    nodes: Float[Tensor, " node"],
    targets: Int[Tensor, " target"],
) -> tuple[Float[Tensor, "path token dim"], Float[Tensor, "path token dim"]]:
    """All `z_k(a)` and their tangents `z_k - z_k(0)`.

    A shared start gives one path a node; a per-target start one a node and target, node-major.
    """
    if not start.per_target:
        step = z - start.vectors
        return start.vectors + nodes[:, None, None] * step, step.expand(len(nodes), -1, -1)
    first = z[targets][:, None, :]
    step = z - first
    paths = first + nodes[:, None, None, None] * step
    return paths.flatten(0, 1), step.expand(len(nodes), -1, -1, -1).flatten(0, 1)
