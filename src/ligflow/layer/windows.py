"""Attention over parts of a layer's tokens (windows): a call for each, or calls with windows as examples.

To the engine it is one attention over all tokens, in which no token sees another window's. The tokens of a
window may stand anywhere in the layer's own order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Windows:
    """`calls` are the numbers of windows, and of tokens in each, of every attention call.

    `order` is the token that stands at each place when windows follow one another; None where that is the
    layer's own order.
    """

    calls: tuple[tuple[int, int], ...]
    order: Int[Tensor, " token"] | None = None

    def whole(self, parts: Sequence[Float[Tensor, "_ head _ dim"]]) -> Float[Tensor, "batch head token dim"]:
        """Queries, keys or values of each call, as those of all tokens in their own order."""
        rows = [
            part.unflatten(0, (-1, windows)).transpose(1, 2).flatten(2, 3)
            for part, (windows, _) in zip(parts, self.calls, strict=True)
        ]
        return self._own(torch.cat(rows, dim=2), 2)

    def parts(self, u: Float[Tensor, "batch token head dim"]) -> list[Float[Tensor, "_ head _ dim"]]:
        """Attention outputs of all tokens, as each call gives them."""
        ordered = u if self.order is None else u[:, self.order]
        split = ordered.split([windows * tokens for windows, tokens in self.calls], dim=1)
        return [
            part.unflatten(1, sizes).flatten(0, 1).transpose(1, 2)
            for part, sizes in zip(split, self.calls, strict=True)
        ]

    def bias(self, biases: Sequence[Float[Tensor, "_ _ _ _"] | None], like: Tensor) -> Tensor:
        """What is added to scores `[1, heads, T, T]`: each window's own bias, and no sight of the others."""
        heads = max(1 if bias is None else bias.shape[1] for bias in biases)
        total = sum(windows * tokens for windows, tokens in self.calls)
        whole = like.new_full((1, heads, total, total), torch.finfo(like.dtype).min)
        at = 0
        for (windows, tokens), bias in zip(self.calls, biases, strict=True):
            every = like.new_zeros(windows, heads, tokens, tokens) if bias is None else bias
            for window in every[:windows].expand(windows, heads, tokens, tokens):  # alike for all examples
                whole[0, :, at : at + tokens, at : at + tokens] = window
                at += tokens
        return self._own(self._own(whole, 2), 3)

    def in_order(self, order: Int[Tensor, " token"]) -> "Windows":
        """These windows with a known order of the tokens."""
        own = torch.arange(len(order), device=order.device)
        return replace(self, order=None if torch.equal(order, own) else order)

    def on(self, device: torch.device) -> "Windows":
        """These windows on a device."""
        return replace(self, order=None if self.order is None else self.order.to(device))

    def _own(self, placed: Tensor, axis: int) -> Tensor:
        return placed if self.order is None else placed.index_select(axis, self.order.argsort())


def windows_of(
    queries: Sequence[tuple[int, int]], keys: Sequence[tuple[int, int]], tokens: int
) -> Windows | None:
    """The windows of calls with so many (examples, tokens), None where they are not windows of `tokens`."""
    if list(queries) != list(keys) or sum(count * size for count, size in queries) != tokens:
        return None
    return Windows(tuple(queries)) if list(queries) != [(1, tokens)] else None


def order_by_bits(changed: Sequence[Bool[Tensor, " token"]]) -> Int[Tensor, " token"] | None:
    """The order of the tokens, from the places that change with all tokens whose number has a bit set.

    None where that is not an order: a token at two places, or at none.
    """
    order = sum(places.long() << bit for bit, places in enumerate(changed))
    assert isinstance(order, Tensor)
    return order if torch.equal(order.sort().values, torch.arange(len(order), device=order.device)) else None
