"""How a layer lays out its hidden states: which axis counts examples, which the tokens.

Everywhere else hidden states are `[batch, tokens, size]`. Some layers put tokens before examples, leave
examples out, put patches into rows and columns, or keep several streams of numbers for each token. Some take
the parts of one example (frames of a film, tiles of an image) for examples.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """The axes of a layer's own hidden states, for one example of the sizes `shape`.

    `examples` is the axis of examples, None where there is none; `tokens` are those of the tokens, in their
    order. All others together are the numbers of one token. Of so many `parts` that count as examples one is
    made; its tokens are theirs, part after part.
    """

    shape: tuple[int, ...]
    examples: int | None
    tokens: tuple[int, ...]
    parts: int = 1

    def rows(self, own: Float[Tensor, "*own"]) -> Float[Tensor, "batch token dim"]:
        """The layer's own hidden states as `[batch, tokens, size]`."""
        if self == USUAL:
            return own
        own = own[None] if self.examples is None else own
        if self.parts > 1:
            return own.unflatten(0, (-1, self.parts)).flatten(1, 2)
        return own.permute(self._order).flatten(1, len(self.tokens)).flatten(2)

    def own(self, rows: Float[Tensor, "batch token dim"]) -> Float[Tensor, "*own"]:
        """`[batch, tokens, size]` as the layer takes them."""
        if self == USUAL:
            return rows
        if self.parts > 1:
            return rows.unflatten(1, (self.parts, -1)).flatten(0, 1)
        order, sizes = self._order, (1, *self.shape) if self.examples is None else self.shape
        numbers = [sizes[axis] for axis in order[1 + len(self.tokens) :]]
        tokens = [-1] if len(self.tokens) == 1 else [self.shape[axis] for axis in self.tokens]
        apart = rows.unflatten(2, numbers).unflatten(1, tokens)
        tensor = apart.permute([order.index(axis) for axis in range(len(order))]).contiguous()
        return tensor[0] if self.examples is None else tensor

    @property
    def _order(self) -> tuple[int, ...]:
        """The axes of examples, of tokens, and all others; those without examples get an axis for them."""
        shift = self.examples is None
        first = (self.examples or 0, *(axis + shift for axis in self.tokens))
        return (*first, *(axis for axis in range(len(self.shape) + shift) if axis not in first))


USUAL = Layout((), 0, (1,))


def layout_of(shape: tuple[int, ...], attended: Collection[int]) -> Layout | None:
    """The layout of one example's hidden states, None where they have none that is known.

    `attended` is how many tokens the layer's attention may see, nothing where it is not seen. It tells tokens
    before examples from examples of one token, and rows of patches from streams.
    """
    if len(shape) == 3 and shape[0] == 1:
        turned = shape[2] in attended and shape[1] not in attended  # numbers before tokens
        return Layout(shape, 0, (2,)) if turned else USUAL
    return next((layout for layout in _candidates(shape) if _is_likely(layout, attended)), None)


def layout_of_parts(shape: tuple[int, ...], attended: Collection[tuple[int, int]]) -> Layout | None:
    """The layout of one example whose parts count as examples.

    `attended` are the examples and tokens of each attention; None where none is about every part.
    """
    parts, tokens = shape[:2]
    is_known = any(count == parts or count * size == parts * tokens for count, size in attended)
    return Layout(shape, 0, (1,), parts) if len(shape) == 3 and is_known else None


def _candidates(shape: tuple[int, ...]) -> list[Layout]:
    """The layouts besides the usual one that give one example."""
    known: dict[int, list[tuple[int | None, tuple[int, ...]]]] = {
        2: [(None, (0,))],
        3: [(1, (0,))],
        4: [(0, (1,)), (0, (1, 2)), (1, (2,))],
    }
    return [
        Layout(shape, examples, tokens)
        for examples, tokens in known.get(len(shape), [])
        if examples is None or shape[examples] == 1
    ]


def _is_likely(layout: Layout, attended: Collection[int]) -> bool:
    axes = len(layout.shape)
    if axes != 3 or attended:
        count = math.prod(layout.shape[axis] for axis in layout.tokens)
        return count in attended or (axes == 2 and bool(attended))
    return True
