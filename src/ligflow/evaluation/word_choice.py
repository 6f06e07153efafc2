"""Which word each row of a head chooses, whether it is the right one, and what a fixed offset chooses.

A row chooses its strongest candidate by magnitude; it is right if the candidate is one of those asked for
(its syntactic head, its subject, ...). The rule that a head must beat is a fixed offset: always the next
word, or the one after it, and so on [clark2019].
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

OFFSETS = (*range(-10, 0), *range(1, 11))  # in candidates, from the target


def strongest(
    rows: Float[Tensor, "*map target source"], candidates: Bool[Tensor, "target source"]
) -> Int[Tensor, "*map target"]:
    """The candidate of largest magnitude of each row; among equals the first."""
    return rows.abs().masked_fill(~candidates, -1).argmax(-1)


def answerable(
    right: Bool[Tensor, "question target source"], candidates: Bool[Tensor, "target source"]
) -> Bool[Tensor, "question target"]:
    """Whether a right word is among a row's candidates, so that the row can be right at all."""
    return (right & candidates).any(-1)


def hits(
    rows: Float[Tensor, "*map target source"],
    right: Bool[Tensor, "question target source"],
    candidates: Bool[Tensor, "target source"],
) -> Int[Tensor, "question *map"]:
    """How many answerable rows choose a right word."""
    chosen = strongest(rows, candidates)
    targets = torch.arange(chosen.shape[-1], device=chosen.device)
    return ((right & candidates)[:, targets, chosen]).sum(-1)


def hits_of_offsets(
    right: Bool[Tensor, "question target source"],
    candidates: Bool[Tensor, "target source"],
    order: Int[Tensor, " word"],
) -> Int[Tensor, "question offset"]:
    """How many rows each of OFFSETS is right for; `order` counts the words that may be chosen at all."""
    away = order[None, :] - order[:, None]
    fitting = right & candidates
    return torch.stack([(fitting & (away == offset)).any(-1).sum(-1) for offset in OFFSETS], -1)
