"""One layer of a model on one sentence, or on several at once.

A row is a token of one of the sentences: row `b T + j` is token j of sentence b, T the tokens of the
longest. Rows, and the sources that belong to them, are all that the engine sees of a batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn.functional import pad

from ligflow.layer.experts import choices
from ligflow.layer.layer import Layer
from ligflow.method.baselines import Start


@dataclass(frozen=True, eq=False)
class LayerBatch:
    """The layer as recorded on each sentence, and `z` of all rows (0 where a sentence is shorter).

    `held` are the experts that rows keep on their paths, one tensor a choice (see `ligflow.layer.experts`).
    """

    layers: tuple[Layer, ...]
    z: Float[Tensor, "row dim"]
    held: tuple[Int[Tensor, "row choice"], ...] = ()

    @property
    def tokens(self) -> int:
        """T, the tokens of the longest sentence."""
        return len(self.z) // len(self.layers)

    @property
    def host(self) -> Layer:
        """The recorded call in which rows are replayed after their attention."""
        return max(self.layers, key=lambda layer: len(layer.hidden))

    def output(self) -> Float[Tensor, "row dim"]:
        """z' of all rows, as the model computed it."""
        return torch.cat([padded(layer.output, self.tokens) for layer in self.layers])

    def columns(self, rows: Int[Tensor, " row"]) -> Int[Tensor, " row"]:
        """The positions of rows in their sentences."""
        return rows % self.tokens

    def replayed_tokens(self, nodes: int, rows: Int[Tensor, " row"]) -> Int[Tensor, " pair"]:
        """Which tokens of the replayed runs (node, row) pairs are."""
        at = torch.arange(nodes, device=rows.device)[:, None]
        if self.host.findings.positionwise:  # side by side
            return (at * len(rows) + torch.arange(len(rows), device=rows.device)).flatten()
        return (at * len(self.host.hidden) + rows).flatten()

    def table(self, rows: Int[Tensor, " row"]) -> "BatchRows":
        """Rows (in order) as a table with a line for each sentence that has some."""
        if len(self.layers) == 1:
            return BatchRows(rows.new_zeros(1), rows[None], None, self._is_all(rows))
        owner = rows // self.tokens
        sentences, line, count = owner.unique_consecutive(return_inverse=True, return_counts=True)
        width = int(count.max())
        slot = torch.arange(len(rows), device=rows.device) - (count.cumsum(0) - count)[line]
        columns = rows.new_zeros(len(sentences), width)
        columns[line, slot] = self.columns(rows)
        full = len(rows) == columns.numel()
        return BatchRows(sentences, columns, None if full else line * width + slot, self._is_all(rows))

    def _is_all(self, rows: Int[Tensor, " row"]) -> bool:
        """Whether these are all rows, in order."""
        return len(rows) == len(self.z) and torch.equal(rows, torch.arange(len(rows), device=rows.device))


@dataclass(frozen=True, eq=False)
class BatchRows:
    """Rows by sentence. `cells` are the cells that are rows; None means all, in order.

    `every` is True where these are all rows of all sentences, in order.
    """

    sentences: Int[Tensor, " sentence"]
    columns: Int[Tensor, "sentence slot"]
    cells: Int[Tensor, " row"] | None
    every: bool = False

    def of_sentences(self, parts: Shaped[Tensor, "all *rest"]) -> Shaped[Tensor, "sentence *rest"]:
        """Those of the sentences that have rows."""
        return parts if len(parts) == len(self.sentences) else parts[self.sentences]

    def of(self, tokens: Float[Tensor, "all *head token dim"]) -> Float[Tensor, "sentence *head slot dim"]:
        """What belongs to the rows, of tensors with tokens before the last axis."""
        if self.every:
            return tokens
        index = self.columns.reshape(len(self.columns), *[1] * (tokens.ndim - 3), -1, 1)
        own = self.of_sentences(tokens)
        return own.gather(-2, index.expand(*own.shape[:-2], -1, own.shape[-1]))

    def pick(self, cells: Shaped[Tensor, "node cell *rest"]) -> Shaped[Tensor, "node row *rest"]:
        """The cells that are rows."""
        return cells if self.cells is None else cells[:, self.cells]

    def spread(self, rows: Float[Tensor, "node row *rest"]) -> Float[Tensor, "node cell *rest"]:
        """Rows put into their cells; 0 in the others."""
        if self.cells is None:
            return rows
        out = rows.new_zeros(len(rows), self.columns.numel(), *rows.shape[2:])
        return out.index_copy_(1, self.cells, rows)


def together(layers: Sequence[Layer]) -> LayerBatch:
    """One layer of the model on several sentences, as rows filled up to the longest."""
    tokens = max(len(layer.hidden) for layer in layers)
    return LayerBatch(tuple(layers), torch.cat([padded(layer.hidden, tokens) for layer in layers]))


def alone(layer: Layer) -> LayerBatch:
    """A batch of one sentence."""
    return LayerBatch((layer,), layer.hidden)


def starts_together(starts: Sequence[Start], tokens: int) -> Start:
    """The starts of all sentences, row by row, filled up with 0 to `tokens` each."""
    vectors = torch.cat([padded(start.vectors, tokens) for start in starts])
    return Start(vectors, starts[0].per_target)


def padded(vectors: Float[Tensor, "token dim"], tokens: int) -> Float[Tensor, "longest dim"]:
    """The vectors, filled up with 0 to as many tokens."""
    return pad(vectors, (0, 0, 0, tokens - len(vectors)))


def frozen(batch: LayerBatch) -> LayerBatch:
    """The same rows, each with the experts that it has in the real input.

    Raises LigflowError for a layer that chooses no experts.
    """
    by_sentence = [choices(layer) for layer in batch.layers]
    held = [
        torch.cat([pad(experts, (0, 0, 0, batch.tokens - len(experts))) for experts in call])
        for call in zip(*by_sentence, strict=True)
    ]
    return replace(batch, held=tuple(held))


def recorded_output(batch: LayerBatch) -> Callable[[Tensor], Tensor] | None:
    """z' as the model computed it, if replays repeat it to rounding."""
    if not all(layer.findings.repeats for layer in batch.layers):
        return None
    output = batch.output()
    return lambda rows: output[rows][:, None]
