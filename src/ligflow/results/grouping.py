"""A flow seen over fewer tokens: subwords merged to words, or special tokens hidden.

Composition does not commute with averaging targets, so both composed maps are made from tokens
first and then regrouped like the others.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.method import composition
from ligflow.results.flow_data import CELL_PARTS, DIMS, SPLIT_ERROR, AnyFlow, FlowData


@dataclass(frozen=True, eq=False)
class Groups:
    """`sources[w, i]` adds token i to group w; `targets[v, j]` averages target j into group v."""

    sources: Float[Tensor, "group source"]
    targets: Float[Tensor, "row target"]

    def of(self, maps: Float[Tensor, "*map target source"]) -> Float[Tensor, "*map row group"]:
        """Maps over the groups: sums over sources, means over targets."""
        summed = torch.einsum("...ts,gs->...tg", maps, self.sources.to(maps))
        return torch.einsum("...ts,gt->...gs", summed, self.targets.to(maps))


def words_of(flow: FlowData) -> Groups:
    """Tokens by word; only words that hold a target have a row. Raises LigflowError without words."""
    words = flow.meta.get("words")
    if words is None:
        raise LigflowError(
            "This flow has no words: they come from a text and a tokenizer that reports offsets "
            "(a fast tokenizer); flows of ready-made inputs keep their tokens."
        )
    sources = _members(words, len(flow.meta["word_labels"]))
    rows = torch.stack([sources[word, list(flow.targets)] for word in _present(flow)])
    return Groups(sources, rows / rows.sum(-1, keepdim=True))


def _present(flow: FlowData) -> list[int]:
    return sorted({flow.meta["words"][target] for target in flow.targets})


def merge_words(flow: AnyFlow) -> AnyFlow:
    """Sum over the source tokens of a word, mean over its target tokens.

    A word's certificate is the mean residue over the mean scale of its targets. Raises LigflowError
    where the tokenizer gave no offsets, and so no words.
    """
    groups = words_of(flow)
    special = tuple(bool(members @ members.new_tensor(flow.special)) for members in groups.sources)
    meta = {k: v for k, v in flow.meta.items() if k not in ("words", "word_labels")} | {"merged": "words"}
    return replace(
        flow,
        tokens=list(flow.meta["word_labels"]),
        targets=tuple(_present(flow)),
        special=special,
        tensors=_regrouped(flow, groups),
        meta=meta,
    )


def hide_special(flow: AnyFlow) -> AnyFlow:
    """Drop the rows and columns of special tokens; `hidden(route)` keeps what their columns held."""
    shown = [i for i, special in enumerate(flow.special) if not special]
    rows = [row for row, target in enumerate(flow.targets) if not flow.special[target]]
    if not shown or not rows:
        raise LigflowError("Nothing is left: all tokens, or all targets, of this flow are special tokens.")
    groups = Groups(_eye(len(flow.tokens))[shown], _eye(len(flow.targets))[rows])
    tensors = _regrouped(flow, groups)
    for route in ("z2u", "z2z"):
        if route in flow.routes:
            mass = flow.tensors[route].sum(-1) + flow.hidden(route)
            tensors[f"{route}.hidden"] = _over_targets(mass, groups) - tensors[route].sum(-1)
    return replace(
        flow,
        tokens=[flow.tokens[i] for i in shown],
        targets=tuple(shown.index(flow.targets[row]) for row in rows),
        special=(False,) * len(shown),
        tensors=tensors,
        meta=_without_hidden(flow, shown),
    )


def _without_hidden(flow: FlowData, shown: list[int]) -> dict[str, object]:
    meta: dict[str, Any] = dict(flow.meta) | {
        "hidden_tokens": [t for i, t in enumerate(flow.tokens) if i not in shown]
    }
    if "patches" in meta:
        before = flow.meta["patches"]["first"]
        left = sum(place < before for place in shown)
        meta["patches"] = dict(flow.meta["patches"]) | {"first": left}
    if flow.meta.get("words") is None:
        return meta
    kept = [flow.meta["words"][i] for i in shown]
    order = sorted(set(kept))
    named = {
        name: [flow.meta[name][word] for word in order]
        for name in ("word_labels", "word_places")
        if flow.meta.get(name)
    }
    return meta | named | {"words": [order.index(word) for word in kept]}


def _regrouped(flow: FlowData, groups: Groups) -> dict[str, Tensor]:
    """Every tensor of the flow over the groups, composed maps included."""
    tensors = {}
    dims = {name: axes for name, axes in DIMS.items() if name in flow.tensors}
    for name, axes in dims.items():
        tensors[name] = _apply(flow.tensors[name], axes, groups)
    if SPLIT_ERROR in flow.tensors:
        tensors[SPLIT_ERROR] = _over_targets(flow.tensors[SPLIT_ERROR], groups)
    for route in flow.routes:
        tensors |= _cells(flow, route, groups)
    if {"z2u", "u2z"} <= set(flow.routes):
        for rule in composition.NAMES:
            tensors[f"composed.{rule}"] = _apply(flow.composed(rule), DIMS["z2z"], groups)
    return tensors


def _cells(flow: FlowData, route: str, groups: Groups) -> dict[str, Tensor]:
    cells = {}
    for part in (*CELL_PARTS, "hidden", "jump"):
        tensor = flow.tensors.get(f"{route}.{part}")
        if tensor is not None:
            cells[f"{route}.{part}"] = _over_targets(tensor, groups)
    cells[f"{route}.met"] = cells[f"{route}.met"] > 1 - 1e-6
    nodes = flow.tensors[f"{route}.nodes"]
    cells[f"{route}.nodes"] = _over_targets(nodes, groups).round().to(nodes.dtype)
    if f"{route}.floor" in flow.tensors:
        cells[f"{route}.floor"] = flow.tensors[f"{route}.floor"]
    return cells


def _apply(tensor: Tensor, axes: tuple[str, ...], groups: Groups) -> Tensor:
    return groups.of(tensor) if axes[-1] == "source" else _over_targets(tensor, groups)


def _over_targets(tensor: Tensor, groups: Groups) -> Tensor:
    floating = tensor if tensor.is_floating_point() else tensor.to(groups.targets.dtype)
    return torch.einsum("...t,gt->...g", floating, groups.targets.to(floating))


def _members(words: list[int], count: int) -> Float[Tensor, "word source"]:
    members = torch.zeros(count, len(words), dtype=torch.float64, device="cpu")
    members[words, list(range(len(words)))] = 1
    return members


def _eye(count: int) -> Float[Tensor, "token token"]:
    return torch.eye(count, dtype=torch.float64, device="cpu")
