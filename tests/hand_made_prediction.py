"""Predictions made by hand: relevance that is conserved from the answer down to the input, cell by cell."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ligflow import Answer, Prediction
from ligflow.results.prediction_data import SegmentCertificate

CAPITAL = ["<|endoftext|>", "The", " capital", " of", " France", " is"]


def prediction_of(
    tokens: list[str] = CAPITAL,
    *,
    layers: int = 3,
    head_count: int = 2,
    edges: Iterable[int] = (),
    parts: Iterable[int] = (),
    kept: Iterable[int] = (0,),
    change: float = 8.0,
    seed: int = 0,
    unmet: bool = False,
    **more: Any,
) -> Prediction:
    """A decoder's prediction, read at the last token: heads and the token itself share each one's relevance.

    A head's goes to the tokens up to its own by edges, of which those of the layers `edges` are stored; kept
    tokens are given none in the first layer, and those with kept ones alone before them none at all. Of the
    layers `parts` edges are split too: a half is read, .3 found, .2 asked.
    """
    draw = torch.Generator().manual_seed(seed)
    fixed = torch.tensor([place in {*kept} for place in range(len(tokens))])
    above = torch.zeros(len(tokens), dtype=torch.float64)
    above[-1] = change
    depths, by_layer = [above], {}
    for layer in reversed(range(layers)):
        still = fixed if layer == 0 else fixed.cumprod(0).bool()  # what sees kept tokens alone
        own, carried = _shared(above, head_count, still, draw)
        above = own + carried.sum((0, 1))
        by_layer[layer] = own, carried
        depths.append(above)
    depths.append(above)
    depths.reverse()
    mlps = {layer: depths[layer + 2] * torch.rand(len(tokens), generator=draw) for layer in range(layers)}
    count = max(edges, default=-1) + 1
    assert count <= layers
    fields: dict[str, Any] = {
        "tokens": tokens,
        "special": tuple(token.startswith("<|") for token in tokens),
        "kept": tuple(fixed.tolist()),
        "value": -0.5,
        "reference_value": -0.5 - change,
        "cuts": ["embeddings", *(f"layer {layer}" for layer in range(layers)), "head"],
        "by_depth": torch.stack(depths),
        "late": torch.zeros(layers + 2, len(tokens), dtype=torch.float64),
        "error": 1e-4 * depths[0].abs(),
        "heads": {layer: by_layer[layer][1].sum(-1) for layer in range(layers)},
        "mlps": mlps,
        "residual": {layer: by_layer[layer][0] for layer in range(layers)},
        "stored_edges": {layer: by_layer[layer][1].float() for layer in edges},
        "parts": {layer: _split(by_layer[layer][1].float()) for layer in parts},
        "certificates": _certificates(layers, unmet),
        "top": ((" Paris", 0.61), (" the", 0.08), (" located", 0.03)),
        "reference_top": ((",", 0.05), (" the", 0.04)),
        "layer_names": tuple(f"model.layers.{layer}" for layer in range(layers)),
        "meta": {
            "model": "made by hand",
            "text": "".join(tokens[1:]),
            "question": " Paris",
            "reference": "neutral",
            "reference_tokens": [tokens[0], *["<unk>"] * (len(tokens) - 1)],
            "settings": {
                "score": "logprob",
                "contrast": None,
                "tol": 1e-3,
                "cut": "modules",
                "attention": "moved",
                "experts": "routed",
            },
        },
    }
    return Prediction(**fields | more)


def answer_of(words: tuple[str, ...] = (" Paris", ",", " of"), **more: Any) -> Answer:
    """An answer whose earlier tokens stand behind the prompt, taught and kept, as rows of one chain."""
    tokens = [*CAPITAL, *words[:-1]]
    kept = (0, *range(len(CAPITAL), len(tokens)))
    rows = []
    for number, word in enumerate(words):
        row = prediction_of(tokens, kept=kept, change=8.0 / (number + 1), seed=number, **more)
        rows.append(replace(row, meta={**row.meta, "question": word}))
    return Answer(tuple(rows))


def _split(edges: Tensor) -> Tensor:
    return torch.stack([edges / 2, edges * 0.3, edges * 0.2])


def _shared(above: Tensor, heads: int, still: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """What each token carries past the heads, and what [head, target, source] heads carry to it."""
    count = len(above)
    own = above * (0.3 + 0.4 * torch.rand(count, generator=draw, dtype=torch.float64)) * ~still
    weights = torch.randn(heads, count, count, generator=draw, dtype=torch.float64).exp()
    weights = (weights * (torch.rand(heads, count, count, generator=draw) - 0.2).sign()).tril() * ~still
    sums = weights.sum((0, 2), keepdim=True)
    sums[sums == 0] = 1
    carried = weights / sums * (above - own)[None, :, None]
    lost = (above - own) - carried.sum((0, 2))  # of rounding
    return own + lost, carried


def _certificates(layers: int, unmet: bool) -> tuple[SegmentCertificate, ...]:
    good = [
        SegmentCertificate(f"layer {layer}: {part}", layer, 1e-5, 2e-4, 1e-3, 7, True)
        for layer in range(layers)
        for part in ("attention", "attention's output", "MLP")
    ]
    head = SegmentCertificate("the head", None, 1e-5, 5e-3 if unmet else 2e-4, 1e-3, 31, not unmet, "")
    return (*good, head)
