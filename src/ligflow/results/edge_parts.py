"""Edges of a layer's heads in parts: what was read, where it was found, what was asked."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class EdgeParts:
    """What each head reads from source to target, in three parts that sum to its relevance at the target.

    - `value`: what was read, relevance of the source;
    - `key`: where it was found, relevance of the source, by what its key does that not all keys do;
    - `query`: what was asked, relevance of the target, by the source that its query found.
    """

    value: Float[Tensor, "*layer head target source"]
    key: Float[Tensor, "*layer head target source"]
    query: Float[Tensor, "*layer head target source"]

    @classmethod
    def of(cls, parts: Float[Tensor, "part head target source"]) -> "EdgeParts":
        """From the three in one tensor."""
        return cls(*parts)
