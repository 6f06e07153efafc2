"""What happens to a target when some of its sources are replaced: the unmodified layer, run again.

A removed source k gives its place to `r_k(j)`: zero, the target's own vector, or a mean. `image` is then
`z'_j` of the layer on those hidden states. A token's query, key and value depend on its own vector alone, so
they are captured once with and once without the replacement, every set of removed sources is a choice among
them, and what follows attention is run for each set.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ligflow.devices.blocks import default_budget
from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.layer import Layer
from ligflow.method import from_names
from ligflow.method.attention import scores, softmax, spread
from ligflow.method.baselines import Start
from ligflow.paths.after_attention import finish
from ligflow.paths.batch import LayerBatch, alone
from ligflow.paths.captured_attention import captured_attention
from ligflow.routes.workspace import Selection

REPLACEMENTS = {"zero": "zero", "target": "itb", "mean": "mean"}
_REMOVED, _REAL = 0, 1


@dataclass(frozen=True, eq=False)
class Ablation:
    """A layer on one example whose sources can be removed; `scores[q, k]` are those of a query and a key,
    each removed (0) or real (1), and so are `values[k]`, with a line for each target where they differ.
    """

    sentences: LayerBatch
    tokens: Selection
    start: Start
    scores: Float[Tensor, "2 2 head target source"]
    values: Float[Tensor, "2 line group source value_dim"]
    sink: Float[Tensor, " head"] | None

    def image(self, removed: Bool[Tensor, "set target source"]) -> Float[Tensor, "set target dim"]:
        """`z'_j` when target j does without the sources that each set marks; padding is not among them."""
        with torch.no_grad():
            return torch.cat([self._image(some) for some in removed.split(self._at_once)])

    @property
    def _at_once(self) -> int:
        """How many sets fit in memory."""
        host, z = self.sentences.host, self.sentences.z
        pair = host.findings.cost + 8 * self.scores.shape[2] * self.scores.shape[-1]
        return max(1, default_budget(z.device) // (z.element_size() * pair * len(self.tokens.targets)))

    def _image(self, removed: Tensor) -> Tensor:
        targets = self.tokens.targets
        itself = torch.searchsorted(self.tokens.visible, targets)
        own = removed[:, torch.arange(len(targets), device=removed.device), itself]
        lines = removed[:, None]
        of_query = [torch.where(lines, by_key[_REMOVED], by_key[_REAL]) for by_key in self.scores]
        chosen = torch.where(own[:, None, :, None], of_query[_REMOVED], of_query[_REAL])
        p = softmax(chosen, self.sink)
        u = self._mixed(p * lines, _REMOVED) + self._mixed(p * ~lines, _REAL)
        hidden = torch.where(own[..., None], self.start.vectors[targets], self.sentences.z[targets])
        return finish(self.sentences, hidden, u, targets)[:, :, 0]

    def _mixed(self, p: Float[Tensor, "set head target source"], which: int) -> Tensor:
        """`sum_k p_k V_k` as `[set, target, head, value_dim]`."""
        value = self.values[which]
        if len(value) == 1:
            mixed = spread(p.transpose(0, 1).flatten(1, 2)[None], value)[0]
            return mixed.unflatten(1, (len(p), -1)).permute(1, 2, 0, 3)
        return spread(p.permute(2, 1, 0, 3), value).permute(2, 0, 1, 3)


def ablation(layer: Layer, tokens: Selection, replacement: str | Tensor) -> Ablation:
    """A recorded layer whose sources give place to `zero`, to the `target`'s own vector, to the `mean` of
    the sentence, or to a tensor `[T, D]` or `[D]`.

    Raises LigflowError for another replacement, UnsupportedModel for a layer that cannot be split.
    """
    if isinstance(replacement, str) and replacement not in REPLACEMENTS:
        raise LigflowError(f"Unknown replacement {replacement!r}; choose from {', '.join(REPLACEMENTS)}.")
    if layer.mode != "split":
        raise UnsupportedModel(f"Sources of layer {layer.index} cannot be removed: {layer.findings.reason}.")
    name = REPLACEMENTS[replacement] if isinstance(replacement, str) else replacement
    start = from_names.layer_baseline(name).start(layer.hidden, tokens.visible)
    ends = layer.hidden.new_tensor([_REMOVED, _REAL])
    streams = captured_attention(layer, start, ends, tokens.targets, moving=False)
    query, key, value = (part.unflatten(0, (2, -1)) for part in (streams.query, streams.key, streams.value))
    bias = streams.form.bias
    form = replace(streams.form, bias=None if bias is None else bias[: query.shape[1]])
    found = [torch.stack([_rows(scores(q, k, form)[0]) for k in key]) for q in query]
    seen = torch.stack(found)[..., tokens.visible]
    return Ablation(alone(layer), tokens, start, seen, value[:, :, :, tokens.visible], form.sink)


def _rows(batch: Float[Tensor, "batch head place source"]) -> Float[Tensor, "head target source"]:
    """Batches hold all targets, or one each."""
    return batch[0] if len(batch) == 1 else batch[:, :, 0].transpose(0, 1)
