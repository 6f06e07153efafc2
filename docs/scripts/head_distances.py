"""How far heads are from each other by what they read, and a picture of it, as Clark et al. 2019 drew it."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from torch import Tensor

from ligflow.evaluation.bootstrap import interval, weights

Square = Float[np.ndarray, "head head"]  # all heads of all layers, in order


def js_distances(rows: Float[Tensor, "layer head target source"]) -> Square:
    """`JS(p, q) = H((p + q) / 2) - (H(p) + H(q)) / 2` of two heads' rows, nats, in the mean over targets."""
    heads = rows.flatten(0, 1)
    half = (heads[:, None] + heads) / 2
    own = _entropy(heads)
    return (_entropy(half) - (own[:, None] + own) / 2).nanmean(-1).clamp(min=0).numpy()


def _entropy(rows: Float[Tensor, "... source"]) -> Float[Tensor, "..."]:
    return torch.special.entr(rows).sum(-1)


def scaled(distances: Square) -> Float[np.ndarray, "head 2"]:
    """Places in a plane whose distances are nearest to these: classical multidimensional scaling."""
    count = len(distances)
    centre = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(-centre @ distances**2 @ centre / 2)
    return vectors[:, -2:][:, ::-1] * np.sqrt(values[-2:][::-1].clip(min=0))


def by_head(means: Mapping[str, Square], heads: int = 12) -> pandas.DataFrame:
    """The place of every head in the plane, of each kind of map."""
    frames = []
    for kind, distances in means.items():
        places = scaled(distances)
        numbers = np.arange(len(places))
        frames.append(
            pandas.DataFrame(
                {
                    "kind": kind,
                    "layer": numbers // heads,
                    "head": numbers % heads,
                    "x": places[:, 0],
                    "y": places[:, 1],
                }
            )
        )
    return pandas.concat(frames)


def layers_apart(
    distances: Mapping[str, Float[np.ndarray, "sentence head head"]], draws: int, heads: int = 12
) -> Iterator[dict[str, object]]:
    """Mean distance of heads of one layer and of two, and how alike the order of pairs is to attention's."""
    count = distances["attention"].shape[1]
    layer = np.arange(count) // heads
    pair = np.triu(np.ones((count, count), dtype=bool), 1)
    same = (layer[:, None] == layer)[pair]
    attention = distances["attention"][:, pair]
    drawn = weights(0, range(len(attention)), draws)
    drawn = drawn[drawn.sum(1) > 0]
    for kind, each in distances.items():
        pairs = each[:, pair]
        means, others = (drawn @ values / drawn.sum(1, keepdims=True) for values in (pairs, attention))
        measures = {
            "same": means[:, same].mean(1),
            "other": means[:, ~same].mean(1),
            "alike": np.array([spearmanr(*both).statistic for both in zip(means, others, strict=True)]),
        }
        row: dict[str, object] = {"kind": kind}
        for name, values in measures.items():
            low, high = interval(values[1:, None])
            row |= {name: values[0], f"{name} low": low[0], f"{name} high": high[0]}
        yield row


def drawing(frame: pandas.DataFrame) -> Figure:
    """Every head of MiniLM by what it reads, by attention and by LIG; its layer by colour and number."""
    kinds = {"attention": "attention", "lig": "LIG (itb)"}
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    panels = figure.subplots(1, len(kinds))
    for panel, (kind, title) in zip(panels, kinds.items(), strict=True):
        rows = frame[frame.kind == kind]
        shown = panel.scatter(rows.x, rows.y, c=rows.layer, cmap="viridis", s=60)
        for row in rows.itertuples():
            colour = "black" if row.layer > rows.layer.max() / 2 else "white"
            panel.annotate(str(row.layer), (row.x, row.y), color=colour, ha="center", va="center", fontsize=6)
        panel.set_title(title, fontsize=9)
        panel.set_aspect("equal", adjustable="datalim")
        panel.set_xticks([]), panel.set_yticks([])
    figure.colorbar(shown, ax=panels, label="layer", shrink=0.8)
    return figure
