"""What heads read, as the folder of files that HeadVis shows: a file for each head, and measures of all.

The form is that of HeadVis' own description of its files [luger2026]. It shows attention patterns: rows of
numbers from 0 to 1. Here a row is the sizes of shares, `|A| / Σ |A|`, of what moved a token.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.files import write_text
from ligflow.results.attention_weights import is_attention
from ligflow.results.bertviz_input import bertviz_input
from ligflow.results.flow_data import FlowData

_DIGITS = 4  # of numbers: a cell under half of the last one is not in the files
_INTERVALS = 10  # groups of texts by the size of their largest cell, at most
_LISTED = 50  # tokens of a table
_DESCRIPTIONS = {
    "self_attention_score": "mean share of a token's own row that is its own",
    "previous_token_score": "mean share of the token before",
    "pattern_entropy": "mean entropy of a row, in nats: 0 where one token has it all",
    "qk_distance": "mean distance from a token to what it reads, in tokens, each by its share",
    "qk_distance_variance": "variance of that distance",
    "induction_score": "mean share of what followed the same token before",
}


@dataclass(frozen=True, eq=False)
class _Reading:
    """What one head reads in one text; a token that is no target of the flow has a row of zeros."""

    tokens: Sequence[str]
    shares: Float[Tensor, "target source"]

    @property
    def largest(self) -> float:
        """The largest share beside the diagonal, the first row and the first column, as HeadVis takes it."""
        beside = self.shares.clone().fill_diagonal_(0)[1:, 1:]
        return float(beside.max()) if beside.numel() else 0.0

    @property
    def cells(self) -> list[tuple[int, int, float]]:
        """Target, source and share of all that four digits can tell from 0."""
        rounded = self.shares.double().mul(10**_DIGITS).round()
        places = rounded.nonzero().tolist()
        return [(row, column, float(rounded[row, column]) / 10**_DIGITS) for row, column in places]


def save_headvis(flows: Sequence[FlowData], folder: str | Path) -> Path:
    """Writes what every head reads in some texts as HeadVis' folder `data`; it is whole or not there.

    Texts are grouped by their largest share, group 1 the least, in up to ten groups. Raises LigflowError for
    flows of other layers or heads, and for a folder that there is.
    """
    maps = [bertviz_input(flow, "reads")["attention"] for flow in flows]
    _check(flows, maps)
    folder = Path(folder)
    if folder.exists():
        raise LigflowError(
            f"There is a {str(folder)!r} already; give the name of a new folder, or remove it."
        )
    if not folder.absolute().parent.is_dir():
        raise LigflowError(
            f"There is no folder {str(folder.absolute().parent)!r} to write {folder.name!r} in."
        )
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".ligflow.") as scratch:
        data = Path(scratch, "data")
        for part in ("heads", "attributions"):
            (data / part).mkdir(parents=True)
        rows, heads = [], []
        for at, layer in enumerate(flows[0].layers):
            for head in range(maps[0][at].shape[1]):
                readings = [
                    _Reading(flow.tokens, of[at][0, head]) for flow, of in zip(flows, maps, strict=True)
                ]
                heads.append([layer, head])
                rows.append({"layer": layer, "head": head} | _measures(readings))
                _write(data / "heads" / f"L{layer}H{head}.json", _head(readings))
        _write(data / "scatter_data.json", rows)
        _write(data / "config.json", _config(flows, heads))
        for name in ("server_config.json", "attributions/manifest.json"):
            _write(data / name, {})  # no server stands behind these files
        data.rename(folder)
    return folder


def _check(flows: Sequence[FlowData], maps: Sequence[Sequence[Tensor]]) -> None:
    if not flows:
        raise LigflowError("There are no flows to write; give at least one.")
    shapes = {
        (flow.layers, of[0].shape[1], flow.meta.get("model")) for flow, of in zip(flows, maps, strict=True)
    }
    if len(shapes) > 1:
        raise LigflowError(
            "These flows are of other models, layers or numbers of heads; HeadVis shows one model: write a "
            "folder for each."
        )


def _write(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, ensure_ascii=False))


def _config(flows: Sequence[FlowData], heads: list[list[int]]) -> dict[str, Any]:
    model = flows[0].meta.get("model") or "model"
    what = "attention weights" if is_attention(flows[0]) else "what heads read, sizes of shares, without sign"
    return {
        "model_name": f"{model}: {what} (ligflow)",
        "heads": heads,
        "n_layers": len(flows[0].layers),
        "n_heads": len(heads) // len(flows[0].layers),
        "n_intervals": min(_INTERVALS, len(flows)),
        "metrics": [*_DESCRIPTIONS],
        "metric_descriptions": _DESCRIPTIONS,
        "head_data_pattern": "L{layer}H{head}.json",
        "has_umap": False,
        "umap_heads": [],
        "custom_plots": [{"key": "qk_distance_histogram", "label": "distance from a token to what it reads"}],
        "custom_tables": [
            {"key": "top_query_tokens", "label": "tokens that read"},
            {"key": "top_key_tokens", "label": "tokens that are read"},
        ],
        "statistics_display": {},
    }


def _head(readings: Sequence[_Reading]) -> dict[str, Any]:
    """The file of a head. Its tables and its histogram are of the same cells as its sequences."""
    order = sorted(range(len(readings)), key=lambda number: readings[number].largest)
    groups = min(_INTERVALS, len(readings))
    interval = {number: 1 + rank * groups // len(readings) for rank, number in enumerate(order)}
    cells = [reading.cells for reading in readings]
    sequences = [
        {
            "sequence_id": number,
            "interval": interval[number],
            "tokens": [*reading.tokens],
            "attention_indices": [row * len(reading.tokens) + column for row, column, _ in own],
            "attention_values": [share for *_, share in own],
            "seq_len": len(reading.tokens),
            "max_activation": round(reading.largest, _DIGITS),
        }
        for number, (reading, own) in enumerate(zip(readings, cells, strict=True))
    ]
    pairs = [(reading.tokens, cell) for reading, own in zip(readings, cells, strict=True) for cell in own]
    return {
        "sequences": sequences,
        "qk_distance_histogram": _distances(cell for _, cell in pairs),
        "top_query_tokens": _table((tokens[row], share) for tokens, (row, _, share) in pairs),
        "top_key_tokens": _table((tokens[column], share) for tokens, (_, column, share) in pairs),
        "histogram": {},
        "statistics": {},
    }


def _distances(cells: Iterable[tuple[int, int, float]]) -> dict[str, list[float]]:
    """The mass by distance: 0, 1, 2 and 3, 4 to 7, and so on."""
    mass: dict[int, float] = defaultdict(float)
    for row, column, share in cells:
        mass[abs(row - column).bit_length()] += share
    last = max(mass, default=0)
    edges = [0, *(2**power for power in range(last + 1))]
    return {"bin_edges": edges, "bin_values": [round(mass[number], _DIGITS) for number in range(last + 1)]}


def _table(shares: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    """The tokens that hold most of all that the cells hold, with their parts of it."""
    mass: dict[str, float] = defaultdict(float)
    for token, share in shares:
        mass[token] += share
    total = sum(mass.values())
    ranked = sorted(mass.items(), key=lambda pair: -pair[1])[:_LISTED]
    return [{"token": token, "weight": round(own / total, _DIGITS)} for token, own in ranked]


def _measures(readings: Sequence[_Reading]) -> dict[str, float]:
    """One number a measure: means over the rows of all texts."""
    rows: dict[str, list[Tensor]] = {name: [] for name in _DESCRIPTIONS}
    moments = torch.zeros(3, dtype=torch.float64)  # the mass, its distance, the square of that
    for reading in readings:
        shares = reading.shares.double()
        targets = shares.sum(-1) > 0
        at = torch.arange(len(shares))
        distance = (at[:, None] - at).abs().double()
        moments += torch.stack([(shares * distance**power).sum() for power in range(3)])
        rows["self_attention_score"].append(shares.diagonal()[targets])
        rows["previous_token_score"].append(shares.diagonal(-1)[targets[1:]])
        rows["pattern_entropy"].append(torch.special.entr(shares).sum(-1)[targets])
        rows["induction_score"].append((shares * _followed(reading.tokens)).sum(-1)[targets])
    means = {name: float(torch.cat(each).mean().nan_to_num()) for name, each in rows.items() if each}
    mass, first, second = (moments / moments[0].clamp(min=1e-300)).tolist()
    means |= {"qk_distance": first, "qk_distance_variance": max(0.0, second - first**2) if mass else 0.0}
    return {name: round(means[name], _DIGITS) for name in _DESCRIPTIONS}


def _followed(tokens: Sequence[str]) -> Float[Tensor, "target source"]:
    """1 at sources that stand behind an earlier token that is the target's like."""
    numbers = {token: number for number, token in enumerate(tokens)}
    kinds = torch.tensor([numbers[token] for token in tokens])
    alike = (kinds[:, None] == kinds).tril(-1).double()
    return torch.cat([torch.zeros_like(alike[:, :1]), alike[:, :-1]], dim=-1)
