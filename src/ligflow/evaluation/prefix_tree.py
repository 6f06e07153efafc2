"""Many runs of a decoder that differ in a few tokens, as one: what they have in common is computed once.

A decoder's states at a token depend on the tokens before it alone, so that runs with the same first tokens
share them. All runs make a tree of prefixes, which goes through the model as one text: each node sees its
ancestors and itself, and stands at the position of its depth. For runs over all sets of n tokens this takes
about `2^(n+1)` tokens where run by run it takes `n 2^n`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int

NODES = 512  # at most of a tree, for attention is of all nodes to all


@dataclass(frozen=True, eq=False)
class PrefixTree:
    """Nodes of a tree of runs: their depth, what is chosen there, whom they see; the last of each run."""

    depth: Int[np.ndarray, " node"]
    choice: Int[np.ndarray, " node"]
    sees: Bool[np.ndarray, "node node"]
    leaf: Int[np.ndarray, " run"]


def prefix_trees(runs: Int[np.ndarray, "run token"], nodes: int = NODES) -> Iterator[PrefixTree]:
    """Trees that hold each run once, in the order of sorted rows (`numpy.unique`); of so many nodes at most.

    A run is a choice for each token. One that is longer than `nodes` has a tree of its own.
    """
    begin = 0
    while begin < len(runs):
        end, size = begin + 1, runs.shape[1]
        while end < len(runs):
            size += runs.shape[1] - _shared(runs[end - 1], runs[end])
            if size > nodes:
                break
            end += 1
        yield _tree(runs[begin:end])
        begin = end


def _shared(first: np.ndarray, second: np.ndarray) -> int:
    """How many first tokens two runs share."""
    differ = np.flatnonzero(first != second)
    return int(differ[0]) if len(differ) else len(first)


def _tree(runs: np.ndarray) -> PrefixTree:
    """The tree of sorted runs, nodes in the order in which they first occur."""
    length = runs.shape[1]
    paths, count = np.zeros(runs.shape, dtype=np.int64), 0
    depth, choice = list[int](), list[int]()
    for row, run in enumerate(runs):
        kept = _shared(runs[row - 1], run) if row else 0
        if row:
            paths[row, :kept] = paths[row - 1, :kept]
        paths[row, kept:] = np.arange(count, count + length - kept)
        depth += range(kept, length)
        choice += run[kept:].tolist()
        count += length - kept
    sees = np.zeros((count, count), dtype=bool)
    for path in paths:
        for place, node in enumerate(path):
            sees[node, path[: place + 1]] = True
    return PrefixTree(np.array(depth), np.array(choice), sees, paths[:, -1])


def tree_mask(tree: PrefixTree, device: torch.device) -> Bool[torch.Tensor, "1 1 node node"]:
    """Whom each node sees, as an attention mask."""
    return torch.from_numpy(tree.sees).to(device)[None, None]
