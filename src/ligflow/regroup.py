"""A flow seen over fewer tokens: subwords merged to words, or special tokens hidden.

Composition does not commute with averaging targets, so both composed maps are made from tokens
first and then regrouped like the others.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow import compose
from ligflow.errors import LigflowError
from ligflow.flow import CELL_PARTS, DIMS, Flow


@dataclass(frozen=True, eq=False)
class _Groups:
    """`sources[w, i]` adds token i to group w; `targets[v, j]` averages target j into group v."""

    sources: Float[Tensor, "group source"]
    targets: Float[Tensor, "row target"]


def merge_words(flow: Flow) -> Flow:
    """Sum over the source tokens of a word, mean over its target tokens.

    A word's certificate is the mean residue over the mean scale of its targets. Raises LigflowError
    where the tokenizer gave no offsets, and so no words.
    """
    words = flow.meta.get("words")
    if words is None:
        raise LigflowError(
            "This flow has no words: they come from a text and a tokenizer that reports offsets "
            "(a fast tokenizer); flows of ready-made inputs keep their tokens."
        )
    sources = _members(words, len(flow.meta["word_labels"]))
    present = sorted({words[target] for target in flow.targets})
    rows = torch.stack([sources[word, list(flow.targets)] for word in present])
    groups = _Groups(sources, rows / rows.sum(-1, keepdim=True))
    special = tuple(
        bool(sources[w] @ torch.tensor(flow.special, dtype=sources.dtype)) for w in range(len(sources))
    )
    meta = {k: v for k, v in flow.meta.items() if k not in ("words", "word_labels")} | {"merged": "words"}
    labels = list(flow.meta["word_labels"])
    return Flow(labels, flow.layers, tuple(present), special, _regrouped(flow, groups), meta)


def hide_special(flow: Flow) -> Flow:
    """Drop the rows and columns of special tokens; `hidden(route)` keeps what their columns held."""
    shown = [i for i, special in enumerate(flow.special) if not special]
    rows = [row for row, target in enumerate(flow.targets) if not flow.special[target]]
    if not shown or not rows:
        raise LigflowError("Nothing is left: all tokens, or all targets, of this flow are special tokens.")
    groups = _Groups(torch.eye(len(flow.tokens))[shown], torch.eye(len(flow.targets))[rows])
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


def _without_hidden(flow: Flow, shown: list[int]) -> dict[str, object]:
    meta = dict(flow.meta) | {"hidden_tokens": [t for i, t in enumerate(flow.tokens) if i not in shown]}
    if flow.meta.get("words") is None:
        return meta
    kept = [flow.meta["words"][i] for i in shown]
    order = sorted(set(kept))
    labels = [flow.meta["word_labels"][word] for word in order]
    return meta | {"words": [order.index(word) for word in kept], "word_labels": labels}


def _regrouped(flow: Flow, groups: _Groups) -> dict[str, Tensor]:
    """Every tensor of the flow over the groups, composed maps included."""
    tensors = {}
    dims = {name: axes for name, axes in DIMS.items() if name in flow.tensors}
    for name, axes in dims.items():
        tensors[name] = _apply(flow.tensors[name], axes, groups)
    for route in flow.routes:
        tensors |= _cells(flow, route, groups)
    if {"z2u", "u2z"} <= set(flow.routes):
        for rule in compose.NAMES:
            tensors[f"composed.{rule}"] = _apply(flow.composed(rule), DIMS["z2z"], groups)
    return tensors


def _cells(flow: Flow, route: str, groups: _Groups) -> dict[str, Tensor]:
    cells = {}
    for part in (*CELL_PARTS, "hidden"):
        tensor = flow.tensors.get(f"{route}.{part}")
        if tensor is not None:
            cells[f"{route}.{part}"] = _over_targets(tensor, groups)
    cells[f"{route}.met"] = cells[f"{route}.met"] > 1 - 1e-6
    nodes = flow.tensors[f"{route}.nodes"]
    cells[f"{route}.nodes"] = _over_targets(nodes, groups).round().to(nodes.dtype)
    if f"{route}.floor" in flow.tensors:
        cells[f"{route}.floor"] = flow.tensors[f"{route}.floor"]
    return cells


def _apply(tensor: Tensor, axes: tuple[str, ...], groups: _Groups) -> Tensor:
    if axes[-1] == "source":
        tensor = torch.einsum("...ts,gs->...tg", tensor, groups.sources.to(tensor))
        return torch.einsum("...ts,gt->...gs", tensor, groups.targets.to(tensor))
    return _over_targets(tensor, groups)


def _over_targets(tensor: Tensor, groups: _Groups) -> Tensor:
    floating = tensor if tensor.is_floating_point() else tensor.to(groups.targets.dtype)
    return torch.einsum("...t,gt->...g", floating, groups.targets.to(floating))


def _members(words: list[int], count: int) -> Float[Tensor, "word source"]:
    members = torch.zeros(count, len(words))
    members[torch.tensor(words), torch.arange(len(words))] = 1
    return members
