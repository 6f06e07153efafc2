"""Compares MiniLM with copies made here, and writes the results into docs/how-to/compare.md.

Run: python docs/scripts/compare.py, or with names of copies (itself head bits8 bits4 trained power)
The copies: one head with random queries; all matrices rounded to 8 and to 4 bits; a minute of training; and,
for the test's power, all of 4 bits with one head's queries a part of the way to random ones.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from blocks import put
from torch import Tensor, nn

from ligflow import Explainer
from ligflow.corpus.analysis.model_differences import (
    CHANGES,
    Difference,
    Pair,
    compare,
    summed,
)
from ligflow.corpus.reports.comparison_page import change_table, head_table, layer_table, verdict, write
from ligflow.corpus.sources.readers import read
from ligflow.corpus.sources.sentence import Sentence
from ligflow.explainer.pretrained import load

DOCS = Path(__file__).parents[1]
SENTENCES = 60
LAYER, HEAD, SIZE = 3, 5, 32
FEWER, WAYS = 20, (0, 1 / 8, 1 / 4, 1 / 2, 1)  # of the test's power


def one_head(model: nn.Module, way: float = 1.0) -> None:
    """Queries of one head moved a part of the way to random ones of the same size."""
    rows = slice(SIZE * HEAD, SIZE * (HEAD + 1))
    weight = model.get_submodule(f"encoder.layer.{LAYER}.attention.self.query").weight.data
    drawn = torch.randn(weight[rows].shape, generator=torch.Generator().manual_seed(0))
    weight[rows] = torch.lerp(weight[rows], weight[rows].std() * drawn, way)


def rounded(bits: int) -> Callable[[nn.Module], None]:
    """Every matrix of the layers rounded to so many bits, row by row, symmetrically."""

    def change(model: nn.Module) -> None:
        for parameter in model.get_submodule("encoder").parameters():
            if parameter.ndim == 2:
                step = parameter.data.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
                parameter.data = (parameter.data / step).round() * step

    return change


def trained(model: nn.Module) -> None:
    """44 steps that draw two views of a sentence (dropout) together and other sentences apart (SimCSE)."""
    torch.manual_seed(0)
    _, tokenizer = load(None, torch.float32)
    texts = [
        one.text for one in islice(read("embedded:sentences"), SENTENCES, None) if isinstance(one, Sentence)
    ]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    model.train().requires_grad_(True)
    for begin in [16 * batch for _ in range(4) for batch in range(len(texts) // 16)]:
        batch = tokenizer(
            texts[begin : begin + 16], padding=True, truncation=True, max_length=48, return_tensors="pt"
        )
        views = [_mean(model(**batch).last_hidden_state, batch["attention_mask"]) for _ in range(2)]
        likeness = torch.cosine_similarity(views[0][:, None], views[1][None], dim=-1) / 0.05
        nn.functional.cross_entropy(likeness, torch.arange(len(likeness))).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


COPIES: dict[str, Callable[[nn.Module], None]] = {
    "itself": lambda _model: None, "head": one_head, "bits8": rounded(8), "bits4": rounded(4),
    "trained": trained,
}  # fmt: skip


def chosen_sentences() -> list[Sentence]:
    return [one for one in islice(read("embedded:sentences"), SENTENCES) if isinstance(one, Sentence)]


def blocks(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        if name == "power":
            yield "power", power_table()
            continue
        model, tokenizer = load(None, torch.float32)
        COPIES[name](model)
        found = compare(
            Explainer.from_pretrained(), Explainer(model, tokenizer, name=name), chosen_sentences()
        )
        print(name, verdict(found), flush=True)
        yield f"{name}-verdict", verdict(found)
        yield f"{name}-heads", head_table(found)
        yield f"{name}-layers", layer_table(found)
        yield f"{name}-changes", change_table(found)
        if name in ("bits4", "trained"):
            with tempfile.TemporaryDirectory() as folder:
                write(found, Path(folder), name, "")
                shutil.copy(Path(folder) / "compare.svg", DOCS / "pictures" / f"compare-{name}.svg")


def power_table() -> str:
    """What is found of a head that changed by a known part, each model by itself, among heads of 4 bits."""
    rows = [
        "| part of the way | its distance | limit | adjusted p | found | others found | rank |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    sentences = chosen_sentences()[:FEWER]
    before = heads_of(Explainer.from_pretrained(), sentences)
    for way in WAYS:
        model, tokenizer = load(None, torch.float32)
        one_head(model, way)
        rounded(4)(model)
        after = heads_of(Explainer(model, tokenizer, name=f"{way:g}"), sentences)
        pairs = [of_heads(*each) for each in zip(sentences, before, after, strict=True)]
        rows.append(power_row(way, [row for row in summed(pairs) if row.family == "route"]))
        print(rows[-1], flush=True)
    return "\n".join(rows)


def heads_of(explainer: Explainer, sentences: Sequence[Sentence]) -> list[Tensor]:
    """What all heads read in each sentence, `[layer, head, target, source]`."""
    return [explainer.explain(one.inputs, "z2u", progress=False).z2u for one in sentences]


def of_heads(sentence: Sentence, before: Tensor, after: Tensor) -> Pair:
    """What one sentence says of heads alone: half the summed difference of signed shares, by target."""
    shares = [torch.nn.functional.normalize(rows.double(), p=1, dim=-1) for rows in (before, after)]
    route = ((shares[0] - shares[1]).abs().sum(-1) / 2).mean(-1).numpy()
    layers, heads = route.shape
    still = np.zeros((layers, heads, len(CHANGES)))
    return Pair(sentence.number, tuple(range(layers)), route, np.zeros(layers), still)


def power_row(way: float, heads: Sequence[Difference]) -> str:
    own = next(row for row in heads if (row.layer, row.head) == (LAYER, HEAD))
    rank = 1 + sum(row.mean > own.mean for row in heads)
    falsely = sum(row.found for row in heads if row is not own)
    interval = f"{own.mean:.3f} [{own.low:.3f}, {own.high:.3f}]"
    return (
        f"| {way:g} | {interval} | {own.others:.3f} | {own.adjusted:.2g} | {'yes' if own.found else 'no'} "
        f"| {falsely} | {rank} |"
    )


if __name__ == "__main__":
    put(DOCS / "how-to" / "compare.md", dict(blocks(sys.argv[1:] or [*COPIES, "power"])))
