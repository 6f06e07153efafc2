"""Where the heads of a layer start in u2z (the MLP baselines), and whether the residual moves with them.

Attention's outputs `u_j^h` go straight from `u_j^h(0)` to `u_j^h`. Their start is said in one of two ways: it
is what attention makes of the start of its own path, `u_j(0) = ATT_j({z_k(0; j)}_k)`, or it is given
[suzuki2026].
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.method.baselines import Baseline, Held, Itb, Start, custom_start


class HeadBaseline:
    """Where the heads start."""

    @property
    def name(self) -> str:
        """Its word in the header of a flow."""
        raise NotImplementedError

    def attention(self, att_baseline: Baseline) -> Baseline | None:
        """The baseline at whose start attention's outputs are taken; None where `start` says where.

        The residual starts there too, where that start is shared by all targets.
        """
        return None

    def start(
        self, u: Float[Tensor, "token head value_dim"], visible: Int[Tensor, " visible"]
    ) -> Float[Tensor, "token head value_dim"]:
        """The start of every token's heads."""
        raise NotImplementedError

    def second_start(self, u: Float[Tensor, "row head value_dim"]) -> Float[Tensor, "row head value_dim"]:
        """The start of the heads of a second attention, of `u` at the start of the encoder's path."""
        return u


@dataclass(frozen=True)
class AttItbA0(HeadBaseline):
    """Heads start where those of the `itb` path do, `u_j(0) = ATT_j(z_j, ..., z_j)`."""

    name = "att_itb_a0"

    def attention(self, att_baseline: Baseline) -> Baseline:
        """Always `itb`, whose residual stays."""
        return Itb()


@dataclass(frozen=True)
class Matched(HeadBaseline):
    """Heads and residual start at `u_j(0)` and `z_j(0)` of `att_baseline`, so that the routes' ends meet."""

    name = "matched"

    def attention(self, att_baseline: Baseline) -> Baseline:
        """The path that z2u goes."""
        return att_baseline.path


@dataclass(frozen=True)
class ZeroHeads(HeadBaseline):
    """All heads start at 0, `u_j^h(0) = 0`, those of a second attention too; the residual stays."""

    name = "zero"

    def start(
        self, u: Float[Tensor, "token head value_dim"], visible: Int[Tensor, " visible"]
    ) -> Float[Tensor, "token head value_dim"]:
        """0 for every head."""
        return torch.zeros_like(u)

    def second_start(self, u: Float[Tensor, "row head value_dim"]) -> Float[Tensor, "row head value_dim"]:
        """0 for every head."""
        return torch.zeros_like(u)


class HeadVectors(Held, HeadBaseline):
    """A tensor of attention outputs: `[head, value_dim]`, or one a token, `[token, head, value_dim]`."""

    @property
    def name(self) -> str:
        """Its shape, `tensor[2, 4]`."""
        return f"tensor{list(self.content.shape)}"

    def start(
        self, u: Float[Tensor, "token head value_dim"], visible: Int[Tensor, " visible"]
    ) -> Float[Tensor, "token head value_dim"]:
        """The tensor at the visible tokens. Raises LigflowError for another shape, and for NaN."""
        shapes = ((len(visible), *u.shape[1:]), tuple(u.shape[1:]))
        if tuple(self.content.shape) not in shapes or not torch.isfinite(self.content).all():
            raise LigflowError(
                f"mlp_baseline is a tensor of shape {tuple(self.content.shape)}; it holds attention outputs "
                f"u, so it must be finite and of shape {shapes[0]} or {shapes[1]} (tokens, heads, head size)."
            )
        vectors = torch.zeros_like(u)
        vectors[visible] = self.content.to(u)
        return vectors


class CheckedHeads(Held, HeadBaseline):
    """A caller's own baseline (`CustomBaseline`) on the outputs of heads; what it returns is checked."""

    @property
    def name(self) -> str:
        """The name of the caller's object."""
        return str(self.content.name)

    def start(
        self, u: Float[Tensor, "token head value_dim"], visible: Int[Tensor, " visible"]
    ) -> Float[Tensor, "token head value_dim"]:
        """What the object says. Raises LigflowError where that does not fit the outputs."""
        start: Start = custom_start(self.content, u, visible)
        return start.vectors
