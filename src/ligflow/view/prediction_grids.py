"""Numbers of a prediction as grids, for pages and figures: depths by tokens, and layers by heads."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.results.prediction_data import PredictionData
from ligflow.view.prediction_words import KEPT, layer_called, tokens_called

_COLUMNS = 80  # tokens that a grid shows, the strongest; the others are one column
_INPUT, _OUTPUT = "embeddings", "head"


@dataclass(frozen=True, eq=False)
class Grid:
    """`values` [row, column] with labels; NaN where there is nothing to show (`missing` says why).

    Colours end at `most`; shares are of `scale`.
    """

    values: Float[Tensor, "row column"]
    rows: list[str]
    columns: list[str]
    most: float
    scale: float
    missing: str = "there is no such part"
    note: str = ""


def by_depth(prediction: PredictionData, most_columns: int = _COLUMNS) -> Grid:
    """Relevance by depth (the answer first, the input last) and token.

    Kept tokens have none at the input. Of more than `most_columns` tokens the strongest are shown, and the
    others added up in the last column.
    """
    values = prediction.by_depth.double()
    values = torch.cat([values[:1].masked_fill(torch.tensor(prediction.kept), torch.nan), values[1:]]).flip(0)
    rows = [_depth_called(prediction, cut) for cut in reversed(prediction.cuts)]
    names = tokens_called(prediction.tokens)
    values, names, note = strongest_columns(values, names, most_columns)
    return Grid(values, rows, names, prediction.scale, prediction.scale, KEPT, note)


def strongest_columns(
    values: Float[Tensor, "row column"], names: list[str], most: int = _COLUMNS
) -> tuple[Float[Tensor, "row shown"], list[str], str]:
    """The strongest columns in their order, the others added up in a last one, and a note of that."""
    if len(names) <= most:
        return values, names, ""
    sizes = values.nan_to_num()
    strongest = sizes.abs().amax(0).topk(most - 1).indices.sort().values
    left = sizes.sum(-1, keepdim=True) - sizes[:, strongest].sum(-1, keepdim=True)
    count = len(names) - len(strongest)
    note = f" The {len(strongest)} strongest tokens have a column; {count} others share the last."
    shown = [names[at] for at in strongest.tolist()]
    return torch.cat([values[:, strongest], left], -1), [*shown, f"{count} others"], note


def by_head(prediction: PredictionData) -> Grid:
    """What heads and MLPs contribute at all tokens together, the last layer first."""
    layers = sorted({*prediction.heads, *prediction.cross_heads, *prediction.mlps}, reverse=True)
    heads, cross = (
        max((len(part) for part in parts.values()), default=0)
        for parts in (prediction.heads, prediction.cross_heads)
    )
    columns = [*(f"h{head}" for head in range(heads)), *(f"2nd h{head}" for head in range(cross))]
    columns += ["MLP"] * bool(prediction.mlps)
    values = torch.full((len(layers), len(columns)), torch.nan, dtype=torch.float64)
    for row, layer in enumerate(layers):
        for first, parts in ((0, prediction.heads), (heads, prediction.cross_heads)):
            if layer in parts:
                values[row, first : first + len(parts[layer])] = parts[layer].double().sum(-1)
        if layer in prediction.mlps:
            values[row, -1] = prediction.mlps[layer].double().sum()
    most = float(values.nan_to_num().abs().amax()) if values.numel() else 0.0
    rows = [layer_called(prediction, layer) for layer in layers]
    return Grid(values, rows, columns, most or 1.0, prediction.scale)


def _depth_called(prediction: PredictionData, cut: str) -> str:
    """A cut by what stands there: `input`, `before layer 3`, `answer`."""
    if cut == _INPUT:
        return "input"
    number = cut.removeprefix("layer ")
    if number != cut and number.isdecimal():
        return f"before {layer_called(prediction, int(number))}"
    return "answer" if cut == _OUTPUT else cut
