"""Compares MiniLM with copies made here, and writes the results into docs/how-to/compare.md.

Run: python docs/scripts/compare.py
The copies: one head with random queries; all matrices rounded to 8 and to 4 bits; a minute of training.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import torch
from blocks import put
from torch import Tensor, nn

from ligflow import Explainer
from ligflow.corpus.analysis.model_differences import compare
from ligflow.corpus.reports.comparison_page import change_table, head_table, layer_table, verdict, write
from ligflow.corpus.sources.readers import read
from ligflow.corpus.sources.sentence import Sentence
from ligflow.explainer.pretrained import load

DOCS = Path(__file__).parents[1]
SENTENCES = 60
LAYER, HEAD, SIZE = 3, 5, 32


def one_head(model: nn.Module) -> None:
    """Random queries of the same size in one head."""
    rows = slice(SIZE * HEAD, SIZE * (HEAD + 1))
    weight = model.get_submodule(f"encoder.layer.{LAYER}.attention.self.query").weight.data
    weight[rows] = weight[rows].std() * torch.randn(
        weight[rows].shape, generator=torch.Generator().manual_seed(0)
    )


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


def blocks() -> Iterator[tuple[str, str]]:
    sentences = [one for one in islice(read("embedded:sentences"), SENTENCES) if isinstance(one, Sentence)]
    for name, change in COPIES.items():
        model, tokenizer = load(None, torch.float32)
        change(model)
        found = compare(Explainer.from_pretrained(), Explainer(model, tokenizer, name=name), sentences)
        print(name, verdict(found), flush=True)
        yield f"{name}-verdict", verdict(found)
        yield f"{name}-heads", head_table(found)
        yield f"{name}-layers", layer_table(found)
        yield f"{name}-changes", change_table(found)
        if name in ("bits4", "trained"):
            with tempfile.TemporaryDirectory() as folder:
                write(found, Path(folder), name, "")
                shutil.copy(Path(folder) / "compare.svg", DOCS / "pictures" / f"compare-{name}.svg")


if __name__ == "__main__":
    put(DOCS / "how-to" / "compare.md", dict(blocks()))
