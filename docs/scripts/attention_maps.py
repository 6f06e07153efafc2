"""Maps of each head of each layer on one sentence, and how far they are from each other.

Rows are normalised to sum to 1, by size, over the sources other than the target itself (which has no cell
from the target's own vector); `words` leaves special tokens out too, and the first token of a decoder.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ligflow import Explainer, Flow
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.method.attention import attention_weights

FEWEST = 4  # sources of a row that is looked at
BASELINES = ("itb", "mean")
Maps = Float[Tensor, "layer head target source"]


@dataclass(frozen=True, eq=False)
class Sentence:
    """Maps of one sentence: attention weights, the size of what they weigh, which is what a head gives
    (`sizes`) or what its layer's output matrix makes of that (`outputs`), and LIG by baseline."""

    attention: Maps
    sizes: Maps
    outputs: Maps
    flows: Mapping[str, Flow]

    @property
    def aside(self) -> Bool[Tensor, " source"]:
        """Special tokens; of a decoder the first token, on which attention rests whatever it is."""
        causal = bool((self.attention.triu(1) == 0).all())
        first = torch.arange(self.attention.shape[-1]) == 0
        return torch.tensor(self.flows[BASELINES[0]].special) | (first & causal)


def maps_of(explainer: Explainer, text: str) -> Sentence:
    """The maps of every layer."""
    weighed = [_weighed(layer) for layer in explainer.prepared.record(text)]
    attention, sizes, outputs = (torch.stack(each) for each in zip(*weighed, strict=True))
    flows = {
        name: explainer.explain(text, "z2u", parts=True, att_baseline=name, progress=False)
        for name in BASELINES
    }
    return Sentence(attention, sizes, outputs, flows)


def _weighed(layer: Layer) -> tuple[Tensor, Tensor, Tensor]:
    """`alpha_jk`, `||alpha_jk v_k||` and `||alpha_jk W_O v_k||` of every head."""
    with torch.no_grad(), prepared(layer.module, layer.implementation):
        seen = layer.capture(layer.hidden[None])
        p = attention_weights(seen.query, seen.key, seen.form).p[0]
        values = seen.value[0].repeat_interleave(len(p) // seen.value.shape[1], dim=0)
        written = torch.einsum("hkd,ohd->hko", values, _output_matrix(layer).unflatten(1, (len(p), -1)))
        sizes = (each.norm(dim=-1)[:, None] for each in (values, written))
        return p, *(p * size for size in sizes)


def _output_matrix(layer: Layer) -> Float[Tensor, "output joined"]:
    """What carries the joined heads into the residual stream, in the three models of the page."""
    known = ("attention.output.dense", "self_attn.o_proj")
    return next(module.weight for name, module in layer.module.named_modules() if name in known)


def measured(maps: Sentence) -> dict[str, np.ndarray]:
    """Every measure by layer and head, in the mean over the sentence's targets."""
    values = {}
    for name, flow in maps.flows.items():
        parts = flow.parts
        compared = {
            "attention": maps.attention, "sizes": maps.sizes, "outputs": maps.outputs, "lig": flow.z2u.abs(),
            "value": parts.value.abs(), "key": parts.key.abs(),
        }  # fmt: skip
        for over, mask in _masks(maps).items():
            shares = {key: _shares(each, mask) for key, each in compared.items()}
            for one, other in _PAIRS:
                values[f"{name} {over} {one} {other}"] = _apart(shares[one], shares[other])
            values[f"{name} {over} control"] = _apart(shares["attention"], shares["lig"].roll(1, dims=1))
            values[f"{name} {over} same source"] = _same(shares["attention"], shares["lig"])
        for key, each in {**compared, "query": parts.query.abs()}.items():
            values[f"{name} sum {key}"] = each.double().sum((2, 3))
        for key in ("attention", "sizes", "outputs", "lig"):
            values[f"{name} aside {key}"] = _mean(
                _shares(compared[key], _masks(maps)["all"])[..., maps.aside].sum(-1)
            )
        values[f"{name} sum total"] = flow.total("z2u").double().sum(2)
        for key in ("value", "key", "query"):
            values[f"{name} net {key}"] = getattr(parts, key).double().sum((2, 3))
    return {name: each.float().numpy() for name, each in values.items()}


_PAIRS = (
    ("attention", "sizes"), ("attention", "outputs"), ("attention", "value"), ("attention", "lig"),
    ("sizes", "lig"), ("outputs", "lig"), ("value", "lig"),
)  # fmt: skip


def _masks(maps: Sentence) -> dict[str, Bool[Tensor, "target source"]]:
    """The cells that are compared: those of sources that a target sees, itself aside."""
    seen = (maps.attention > 0).any(0).any(0) & ~torch.eye(maps.attention.shape[-1], dtype=torch.bool)
    words = seen & ~maps.aside
    rows = (words.sum(-1) >= FEWEST)[:, None] & ~maps.aside[:, None]
    return {"all": seen & rows, "words": words & rows}


def _shares(sizes: Maps, mask: Bool[Tensor, "target source"]) -> Maps:
    """Rows that sum to 1; NaN where a row is 0 or is not looked at."""
    kept = torch.where(mask, sizes.double(), 0)
    return kept / kept.sum(-1, keepdim=True)


def _apart(one: Maps, other: Maps) -> Float[Tensor, "layer head"]:
    """Half the summed difference of two rows: 0 for alike, 1 for disjoint."""
    return _mean((one - other).abs().sum(-1) / 2)


def _same(one: Maps, other: Maps) -> Float[Tensor, "layer head"]:
    """How often both have their largest cell at the same source."""
    alike = (one.argmax(-1) == other.argmax(-1)).double()
    return _mean(torch.where((one + other).isnan().any(-1), torch.nan, alike))


def _mean(rows: Float[Tensor, "layer head target"]) -> Float[Tensor, "layer head"]:
    return rows.nanmean(-1)
