"""z2z by head, and by what then passes through the MLP: how the parts lie, and what is handed up.

With the head outputs u_h between attention and the rest of the layer, the chain rule sends what source k adds
to target j through one head or past attention, and from there through the MLP or beside it:

    z2z_kj = sum_h E_hkj + [k = j] E_res,j        E_hkj = integral of dL/du_h . du_h/dz_k . step_k

the conductance of a head [dhamdhere2018]. One integral gives all, at the nodes that z2z takes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class HeadAxes:
    """How parts lie side by side: through and beside the MLP, of each head and of what passes attention, by
    source; then those of the heads of a second attention. Paths that all targets share may start where a norm
    jumps (`looks`).
    """

    heads: int
    tokens: int
    cross_heads: int = 0
    memory: int = 0
    looks: bool = False

    @property
    def size(self) -> int:
        """How many numbers a target has."""
        return 2 * ((self.heads + 1) * self.tokens + self.cross_heads * self.memory)

    def sums(self, parts: Float[Tensor, "*rows part"]) -> Float[Tensor, "*rows source"]:
        """The sums by source: z2z."""
        own, cross = self.apart(parts)
        sources = own.sum((-3, -2))
        return sources if cross is None else torch.cat([sources, cross.sum((-3, -2))], dim=-1)

    def apart(
        self, parts: Float[Tensor, "*rows part"]
    ) -> tuple[Float[Tensor, "*rows two head token"], Float[Tensor, "*rows two cross_head memory"] | None]:
        """Those of the layer's own tokens, what passes attention last, and those of the memory."""
        own = 2 * (self.heads + 1) * self.tokens
        tokens = parts[..., :own].unflatten(-1, (2, self.heads + 1, self.tokens))
        if not self.cross_heads:
            return tokens, None
        return tokens, parts[..., own:].unflatten(-1, (2, self.cross_heads, self.memory))


@dataclass(frozen=True, eq=False)
class HeadParts:
    """z2z of one layer in parts; the first of two passes through the MLP, the second beside it.

    `error` is the estimated L1 error of all parts of a target over the scale of its row.
    """

    heads: Float[Tensor, "target two head token"]
    residual: Float[Tensor, "target two"]
    error: Float[Tensor, " target"]
    cross: Float[Tensor, "target two cross_head memory"] | None = None

    def of_each(self, change: Callable[[Tensor], Tensor]) -> "HeadParts":
        """The parts with every tensor changed."""
        cross = None if self.cross is None else change(self.cross)
        return HeadParts(change(self.heads), change(self.residual), change(self.error), cross)

    def with_sources(self, sources: Int[Tensor, " shown"] | slice) -> "HeadParts":
        """Some of the sources, those of the memory following the layer's own."""
        if self.cross is None:
            return HeadParts(self.heads[..., sources], self.residual, self.error)
        tokens = self.heads.shape[-1]
        shown = torch.arange(tokens + self.cross.shape[-1], device=self.heads.device)[sources]
        own, memory = shown[shown < tokens], shown[shown >= tokens] - tokens
        return HeadParts(self.heads[..., own], self.residual, self.error, self.cross[..., memory])

    def with_self_share(
        self, share: Float[Tensor, " target"], columns: Int[Tensor, " target"]
    ) -> "HeadParts":
        """Each head corrected as its row is: the target has a share of its sum, the others what is left."""
        own = columns.reshape(-1, 1, 1, 1).expand(*self.heads.shape[:-1], 1)
        part = share[:, None, None, None]
        sums = self.heads.sum(-1, keepdim=True)
        heads = (self.heads * (1 - part)).scatter_add(-1, own, part * sums)
        return HeadParts(heads, self.residual, self.error, self.cross)


def head_parts(
    axes: HeadAxes,
    parts: Float[Tensor, "target scalar part"],
    error: Float[Tensor, "target scalar"],
    columns: Int[Tensor, " target"],
) -> HeadParts:
    """The integrals of all parts, by what they are; `columns` are the targets' own sources."""
    own, cross = axes.apart(parts[:, 0])
    residual = own[:, :, -1].gather(-1, columns[:, None, None].expand(-1, 2, 1))[..., 0]
    return HeadParts(own[:, :, :-1], residual, error[:, 0], cross)
