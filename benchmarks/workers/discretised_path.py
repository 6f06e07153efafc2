"""Paths through words: from each token's reference to the token, near embeddings of real words.

From the token on, the next of `STEPS` words is one of the `NEIGHBOURS` words next to the last one: the one
that need be moved least to be monotone. In each direction a point has to lie between the point before it and
the reference; where a word does not, the path goes `1 / STEPS` of the way to the reference instead. It ends
there with a jump over what is left. The strategy is the one called greedy, `STEPS` and `NEIGHBOURS` are the
authors' defaults. Sanyal and Ren 2021.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

STEPS = 30
NEIGHBOURS = 500


def discretised_path(
    table: Float[Tensor, "vocabulary D"],
    own: Int[Tensor, " token"],
    reference: Int[Tensor, " token"],
    steps: int = STEPS,
    neighbours: int = NEIGHBOURS,
) -> Float[Tensor, "steps+2 token D"]:
    """The points of each token's path, the reference first and the token last.

    `table` holds the embedding of every word as the model takes it. A token that is its own reference
    stays there.
    """
    goal = table[reference]
    points = [table[own]]
    for words in word_path(table, own, reference, steps, neighbours)[1:]:
        points.append(monotone(table[words], points[-1], goal, steps))
    return torch.stack([*points, goal]).flip(0)


def word_path(
    table: Float[Tensor, "vocabulary D"],
    own: Int[Tensor, " token"],
    reference: Int[Tensor, " token"],
    steps: int,
    neighbours: int,
) -> Int[Tensor, "steps+1 token"]:
    """The words by which each token's path goes, the token first; where no word is left, the reference."""
    squares = table.square().sum(-1)
    path = own[None]
    for _ in range(steps):
        near = _nearest(table, squares, path[-1], neighbours)
        here, goal = table[path[-1], None], table[reference, None]
        moved = (table[near] - monotone(table[near], here, goal, steps)).norm(dim=-1)
        barred = (near == reference[:, None]) | (near == path[..., None]).any(0)
        least, chosen = moved.masked_fill(barred, torch.inf).min(-1)
        stays = least.isinf() | (path[-1] == reference)
        following = torch.where(stays, reference, near.gather(-1, chosen[:, None])[:, 0])
        path = torch.cat([path, following[None]])
    return path


def monotone(
    point: Float[Tensor, "*points D"],
    last: Float[Tensor, "*points D"],
    goal: Float[Tensor, "*points D"],
    steps: int,
) -> Float[Tensor, "*points D"]:
    """The point; in directions where it is not between last and goal, a step from last to goal."""
    between = (point >= torch.minimum(last, goal)) & (point <= torch.maximum(last, goal))
    return torch.where(between, point, last + (goal - last) / steps)


def _nearest(
    table: Float[Tensor, "vocabulary D"],
    squares: Float[Tensor, " vocabulary"],
    words: Int[Tensor, " token"],
    neighbours: int,
) -> Int[Tensor, "token neighbour"]:
    """The words at the least Euclidean distance from each of `words`, but itself."""
    distance = squares - 2 * table[words] @ table.T  # squared, less what all of a row share
    distance.scatter_(1, words[:, None], torch.inf)
    return distance.topk(min(neighbours, len(table) - 1), largest=False).indices
