"""Where a path starts: the baselines of tokens.

A path is straight, `x_k(a) = x_k(0) + a (x_k - x_k(0))`. Its start is shared by all targets
(`zero`, `mean`, the caller's vectors) or belongs to one target j (`itb`: every `x_k(0) = z_j`)
([suzuki2026], section 3).

A baseline is a small frozen object with a `name`, its word in the header of a flow, and a `start`.
A new one is one more class.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.errors import LigflowError


@dataclass(frozen=True, eq=False)
class Start:
    """The start of a path: `vectors[k]` for source k, or `vectors[j]` for every source of target j."""

    vectors: Float[Tensor, "token *dim"]
    per_target: bool = False


@runtime_checkable
class CustomBaseline(Protocol):
    """What a caller's own baseline needs: a name, and where the vectors of one example start.

    `vectors` are the hidden states `[token, dim]` of a layer, those of its encoder, or the outputs
    `[token, head, value_dim]` of its heads; `visible` are the tokens that are not padding.
    """

    @property
    def name(self) -> str:
        """Its word in the header of a flow."""

    def start(self, vectors: Float[Tensor, "token *dim"], visible: Int[Tensor, " visible"], /) -> Start:
        """One start for all targets, `Start(vectors)`, of the shape of the vectors."""


class Baseline:
    """Where the sources of z2u, z2z and e2u start."""

    starts_flat: ClassVar[bool] = False  # whether u may leave its start with slope 0, like a^2
    has_self_term: ClassVar[bool] = True  # whether a target gives something to itself

    @property
    def name(self) -> str:
        """Its word in the header of a flow."""
        raise NotImplementedError

    @property
    def path(self) -> "Baseline":
        """The baseline whose path is integrated."""
        return self

    @property
    def correction(self) -> "Correction | None":
        """What gives a row of `path` the self term that it lacks; None where it lacks none."""
        return None

    def start(self, z: Float[Tensor, "token dim"], visible: Int[Tensor, " visible"]) -> Start:
        """The start of every source; `visible` are the tokens that are not padding."""
        raise NotImplementedError


@runtime_checkable
class Correction(Protocol):
    """How a row whose self term is 0 by definition gets one, and keeps its sum.

    `reference` is the baseline whose row the self share is read from; None: the attention weights.
    """

    @property
    def reference(self) -> Baseline | None:
        """The baseline whose row is read; None for the attention weights."""

    def self_share(
        self, row: Float[Tensor, "target *head source"], targets: Int[Tensor, " target"]
    ) -> Float[Tensor, "target *head"]:
        """What a target gives itself, over the sum of its row."""


@dataclass(frozen=True)
class Itb(Baseline):
    """Every source starts at the target's own vector, `z_k(0; j) = z_j` ([suzuki2026], section 3)."""

    name = "itb"
    has_self_term = False

    def start(self, z: Float[Tensor, "token dim"], visible: Int[Tensor, " visible"]) -> Start:
        """`z` itself, a start per target."""
        return Start(z, per_target=True)


@dataclass(frozen=True)
class Zero(Baseline):
    """Every source starts at 0, `z_k(0) = 0`."""

    name = "zero"

    def start(self, z: Float[Tensor, "token dim"], visible: Int[Tensor, " visible"]) -> Start:
        """0 for every token."""
        return Start(torch.zeros_like(z))


@dataclass(frozen=True)
class Mean(Baseline):
    """Every source starts at the mean of the example's tokens, `z_k(0) = (1/n) sum_m z_m`."""

    name = "mean"
    starts_flat = True

    def start(self, z: Float[Tensor, "token dim"], visible: Int[Tensor, " visible"]) -> Start:
        """The mean of the `visible` (unpadded) tokens."""
        return Start(z[visible].mean(dim=0).expand_as(z).contiguous())


@dataclass(frozen=True, eq=False)
class Held:
    """What a caller gave, equal to itself alone: the results of one tensor are shared by all who give it."""

    content: Any

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Held) and other.content is self.content

    def __hash__(self) -> int:
        return hash((type(self), id(self.content)))


class Vectors(Held, Baseline):
    """A tensor: one start for all tokens, `[D]`, or one a token, `[T, D]`."""

    starts_flat = True

    @property
    def name(self) -> str:
        """Its shape, `tensor[5, 8]`."""
        return f"tensor{list(self.content.shape)}"

    def start(self, z: Float[Tensor, "token dim"], visible: Int[Tensor, " visible"]) -> Start:
        """The tensor at the visible tokens, 0 at padding.

        Raises LigflowError for a tensor that is neither `[T, D]` nor `[D]`, or holds NaN.
        """
        tokens, dim = len(visible), z.shape[1]
        if tuple(self.content.shape) not in ((tokens, dim), (dim,)):
            raise LigflowError(
                f"A baseline tensor of shape {tuple(self.content.shape)} does not fit: this input has "
                f"{tokens} tokens of size {dim}, so pass shape ({tokens}, {dim}) or ({dim},)."
            )
        if not torch.isfinite(self.content).all():
            raise LigflowError("The baseline tensor holds NaN or infinite entries; pass finite numbers.")
        vectors = torch.zeros_like(z)
        vectors[visible] = self.content.to(z)
        return Start(vectors)


class EncoderVector(Vectors):
    """A tensor `[D]`, at which every token of the encoder starts."""

    def start(self, z: Float[Tensor, "token dim"], visible: Int[Tensor, " visible"]) -> Start:
        """The vector for every token. Raises LigflowError for what is not one finite vector."""
        if tuple(self.content.shape) != z.shape[1:] or not torch.isfinite(self.content).all():
            raise LigflowError(
                f"encoder_baseline is a tensor of shape {tuple(self.content.shape)}; it must be one finite "
                f"vector of size {z.shape[1]}, at which every token of the encoder starts."
            )
        return Start(self.content.to(z).expand_as(z))


class CheckedBaseline(Held, Baseline):
    """A caller's own baseline (`CustomBaseline`); what it returns is checked."""

    starts_flat = True

    @property
    def name(self) -> str:
        """The name of the caller's object."""
        return str(self.content.name)

    def start(self, z: Float[Tensor, "token dim"], visible: Int[Tensor, " visible"]) -> Start:
        """What the object says. Raises LigflowError where that is no shared start of these vectors."""
        return custom_start(self.content, z, visible)


def custom_start(
    baseline: CustomBaseline, vectors: Float[Tensor, "token *dim"], visible: Int[Tensor, " visible"]
) -> Start:
    """The start of a caller's own baseline. Raises LigflowError where it does not fit the vectors."""
    with torch.no_grad():
        start = baseline.start(vectors, visible)
    if not isinstance(start, Start) or not isinstance(start.vectors, Tensor):
        raise LigflowError(
            f"The baseline {baseline.name!r} returned {type(start).__name__}; return "
            "ligflow.method.baselines.Start(vectors)."
        )
    if start.per_target:
        raise LigflowError(
            f"The baseline {baseline.name!r} returned a start per target, which only 'itb' has; return "
            "Start(vectors), one start for all targets."
        )
    shape = tuple(start.vectors.shape)
    if shape != tuple(vectors.shape) or not torch.isfinite(start.vectors).all():
        raise LigflowError(
            f"The baseline {baseline.name!r} returned vectors of shape {shape}; it must return finite ones "
            f"of shape {tuple(vectors.shape)}, as it was given."
        )
    return Start(start.vectors.detach().to(vectors))


def own_path(
    start: Start,
    z: Float[Tensor, "token dim"],
    nodes: Float[Tensor, " node"],
    targets: Int[Tensor, " target"],
) -> Float[Tensor, "node target dim"]:
    """`z_j(a)`: the target's own stream on the path (constant under `itb`)."""
    if start.per_target:
        return z[targets].expand(len(nodes), -1, -1)
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
