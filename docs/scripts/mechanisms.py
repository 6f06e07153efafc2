"""Known mechanisms, found in SmolLM2 by the exact map of each layer by head, with no head chosen by hand.

Run: python docs/scripts/mechanisms.py            (ten minutes of one core; interrupted, it goes on)
     python docs/scripts/mechanisms.py --tables   (the page's tables from the figures in benchmarks/results)

A text of random words that comes twice is held against one whose first half has other words; the second is
the same. What a head carries to a token in the first and not in the second is there because the words came
before. What a head carries is a share of the layer's change at the token.
"""

import csv
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from blocks import put
from jaxtyping import Float
from scipy.stats import spearmanr
from torch import Tensor

from ligflow import Explainer
from ligflow.corpus.reports.markdown import table
from ligflow.evaluation.shuffled_weights import with_shuffled_weights
from ligflow.files import write_made

ROOT = Path(__file__).parents[2]
RUNS, RESULTS = ROOT / "runs" / "mechanisms", ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "explanation" / "mechanisms.md"
LENGTHS, TEXTS, STRONGEST, REMOVED, DRAWS, HELD_OUT = (10, 14), 4, 10, 5, 10, 64
MECHANISMS = ("one before", "same token", "what followed")
Head = tuple[int, int]  # layer and number
COLUMNS = ("twice", "other", "attention", "attention_other")
Shares = Float[np.ndarray, "layer head"]
Cells = Float[np.ndarray, "layer head offset"]  # means over targets; offset 0 is one position before


@dataclass(frozen=True)
class Text:
    """Token ids of a text of `length` words twice, and of one that has other words first."""

    length: int
    twice: list[int]
    other: list[int]

    @property
    def targets(self) -> range:
        """Tokens of the second half but for the first two, before which other words stand."""
        return range(self.length + 3, 2 * self.length + 1)

    def offset(self, mechanism: str) -> int:
        """How far before a token the source of a mechanism stands."""
        return {"one before": 1, "same token": self.length, "what followed": self.length - 1}[mechanism]


def words(explainer: Explainer) -> list[int]:
    """The tokens that are a whole lower-case word of four letters or more."""
    pieces = ((number, explainer.tokenizer.decode([number])) for number in range(1000, 20_000))
    return [
        n for n, word in pieces if word[:1] == " " and word[1:].isalpha() and word.islower() and len(word) > 4
    ]


def texts(explainer: Explainer, length: int, count: int, seed: int) -> Iterator[Text]:
    """Random texts; all words of one differ."""
    known, generator = words(explainer), torch.Generator().manual_seed(seed)
    for _ in range(count):
        drawn = [known[int(n)] for n in torch.randperm(len(known), generator=generator)[: 2 * length]]
        again, first = drawn[:length], drawn[length:]
        yield Text(length, [0, *again, *again], [0, *first, *again])


# --- what the map says -------------------------------------------------------------------------------


def cells(explainer: Explainer, text: Text, ids: Sequence[int]) -> tuple[Cells, Cells]:
    """What each head carries from each offset, as a share of the layer's change; and its attention there."""
    inputs = {"input_ids": torch.tensor([ids])}
    flow = explainer.explain(inputs, routes="z2z", split=True)
    shares = flow.z2z_heads.double() / flow.total("z2z").double()[:, None, :, None]
    return _by_offset(shares, text), _by_offset(explainer.attention(inputs).double(), text)


def _by_offset(maps: Float[Tensor, "layer head target source"], text: Text) -> Cells:
    offsets = range(1, text.length + 3)
    columns = [torch.stack([maps[..., j, j - back] for j in text.targets]).mean(0) for back in offsets]
    return torch.stack(columns, dim=-1).numpy()


@dataclass(frozen=True)
class Maps:
    """Means over texts of one length: map and attention, of the texts that come twice and of the others."""

    text: Text
    twice: Cells
    other: Cells
    attention: Cells
    attention_other: Cells

    def by_repetition(self, attention: bool = False) -> Cells:
        """What is there because the words came before."""
        return self.attention - self.attention_other if attention else self.twice - self.other

    def of(self, mechanism: str, attention: bool = False) -> Shares:
        """The share at a mechanism's source; what repetition adds to it, but for the position before."""
        if mechanism == "one before":
            return (self.attention_other if attention else self.other)[..., 0]
        return self.by_repetition(attention)[..., self.text.offset(mechanism) - 1]

    def strongest(self) -> list[tuple[Head, int, float]]:
        """The cells that repetition adds most to, of all heads and offsets: head, offset, share."""
        gained = self.by_repetition()
        order = np.abs(gained).ravel().argsort()[::-1][:STRONGEST]
        places = zip(*np.unravel_index(order, gained.shape), strict=True)
        return [((int(n), int(h)), int(o) + 1, float(gained[n, h, o])) for n, h, o in places]


def maps_of(explainer: Explainer, length: int, count: int = TEXTS) -> Maps:
    """The mean maps of texts of a length."""
    every = list(texts(explainer, length, count, seed=length))
    pairs = [(*cells(explainer, text, text.twice), *cells(explainer, text, text.other)) for text in every]
    twice, attention, other, attention_other = (np.mean(part, axis=0) for part in zip(*pairs, strict=True))
    return Maps(every[0], twice, other, attention, attention_other)


# --- what happens without the heads --------------------------------------------------------------------


def losses(explainer: Explainer, every: Sequence[Text], heads: Sequence[Head]) -> tuple[float, float]:
    """Mean loss of the second half's words, of texts that come twice and of the others, without heads.

    A removed head gives at each position the mean of what it gives over all texts and positions.
    """
    with ExitStack() as stack, torch.no_grad():
        for layer, head in heads:
            module = explainer.model.model.layers[layer].self_attn
            size = module.head_dim
            place = slice(head * size, (head + 1) * size)
            handle = module.o_proj.register_forward_pre_hook(
                lambda _, given, place=place: (_with_mean(given[0], place),)
            )
            stack.callback(handle.remove)
        return tuple(_loss(explainer, every, kind) for kind in ("twice", "other"))  # type: ignore[return-value]


def _with_mean(heads: Tensor, place: slice) -> Tensor:
    heads = heads.clone()
    heads[..., place] = heads[..., place].mean(dim=(0, 1))
    return heads


def _loss(explainer: Explainer, every: Sequence[Text], kind: str) -> float:
    ids = torch.tensor([getattr(text, kind) for text in every])
    said = explainer.model(ids).logits[:, every[0].targets.start - 1 : -1].flatten(0, 1)
    return float(torch.nn.functional.cross_entropy(said, ids[:, every[0].targets.start :].flatten()))


def others(heads: Sequence[Head], count: int, generator: torch.Generator) -> list[Head]:
    """As many other heads of the same layers, drawn at random."""
    drawn: list[Head] = []
    for layer, _ in heads:
        rest = [(layer, n) for n in range(count) if (layer, n) not in (*heads, *drawn)]
        drawn.append(rest[int(torch.randint(len(rest), (), generator=generator))])
    return drawn


def removals(explainer: Explainer, shares: Mapping[str, Shares]) -> Iterator[dict[str, object]]:
    """The losses without the strongest heads of each mechanism, by map and by attention; without others."""
    every = list(texts(explainer, LENGTHS[0], HELD_OUT, seed=1_000))
    generator = torch.Generator().manual_seed(0)
    yield _removal("none", "", [losses(explainer, every, [])])
    for mechanism in MECHANISMS:
        by_size = strongest_of(np.abs(shares[mechanism]))
        chosen = {
            "map": by_size,
            "map, positive": strongest_of(shares[mechanism]),
            "attention": strongest_of(shares[f"{mechanism}, attention"]),
        }
        for judge, heads in chosen.items():
            yield _removal(mechanism, judge, [losses(explainer, every, heads)], heads)
        drawn = [others(by_size, shares[mechanism].shape[1], generator) for _ in range(DRAWS)]
        yield _removal(mechanism, "others", [losses(explainer, every, heads) for heads in drawn])


def _removal(
    mechanism: str, judge: str, values: Sequence[tuple[float, float]], heads: Sequence[Head] = ()
) -> dict[str, object]:
    twice, other = zip(*values, strict=True)
    return {
        "mechanism": mechanism, "heads of": judge, "heads": " ".join(f"{n}.{head}" for n, head in heads),
        "twice": f"{mean(twice):.3f}", "other": f"{mean(other):.3f}",
        "twice least": f"{min(twice):.3f}", "twice most": f"{max(twice):.3f}",
    }  # fmt: skip


def strongest_of(shares: Shares) -> list[Head]:
    """The heads of the largest numbers, largest first."""
    places = np.unravel_index(shares.ravel().argsort()[::-1][:REMOVED], shares.shape)
    return [(int(layer), int(head)) for layer, head in zip(*places, strict=True)]


# --- figures and tables ----------------------------------------------------------------------------------


def compute() -> None:
    """All figures, into benchmarks/results; maps are kept in `runs/`."""
    explainer = Explainer.from_pretrained("embedded:smollm2", unembedding=True)
    twin = Explainer(with_shuffled_weights(explainer.model), explainer.tokenizer)
    maps = [kept(explainer, "smollm2", length) for length in LENGTHS]
    shuffled = [kept(twin, "shuffled", length) for length in LENGTHS]
    shares = dict(shares_of(maps))
    _write("cells", [*_strongest("SmolLM2", maps), *_strongest("shuffled", shuffled)])
    _write("heads", list(_heads(shares)))
    _write("agreement", list(_agreement(maps, shares)))
    _write("removals", list(removals(explainer, shares)))


def kept(explainer: Explainer, name: str, length: int) -> Maps:
    """The maps of texts of a length, computed once."""
    path = RUNS / f"{name}-{length}.npz"
    if not path.exists():
        RUNS.mkdir(parents=True, exist_ok=True)
        begin, maps = time.process_time(), maps_of(explainer, length)
        columns = {field: getattr(maps, field) for field in COLUMNS}
        write_made(path, lambda file: np.savez_compressed(file, **columns))
        print(f"{path.stem}: {time.process_time() - begin:.0f} s", flush=True)
    with np.load(path) as columns:
        text = next(texts(explainer, length, TEXTS, seed=length))
        return Maps(text, *(columns[field] for field in COLUMNS))


def shares_of(maps: Sequence[Maps]) -> Iterator[tuple[str, Shares]]:
    """What each head carries from each mechanism's source, and its attention there: the mean over lengths."""
    for mechanism in MECHANISMS:
        yield mechanism, np.mean([one.of(mechanism) for one in maps], axis=0)
        yield f"{mechanism}, attention", np.mean([one.of(mechanism, True) for one in maps], axis=0)


def _strongest(model: str, maps: Sequence[Maps]) -> Iterator[dict[str, object]]:
    for one in maps:
        names = {one.text.offset(name): name for name in MECHANISMS}
        for (layer, head), offset, share in one.strongest():
            yield {
                "model": model, "length": one.text.length, "layer": layer, "head": head, "offset": offset,
                "source": names.get(offset, "another"), "share": f"{share:.4f}",
            }  # fmt: skip


def _heads(shares: Mapping[str, Shares]) -> Iterator[dict[str, object]]:
    for layer, head in np.ndindex(shares[MECHANISMS[0]].shape):
        numbers = {name: f"{values[layer, head]:.5f}" for name, values in shares.items()}
        yield {"layer": layer, "head": head, **numbers}


def _agreement(maps: Sequence[Maps], shares: Mapping[str, Shares]) -> Iterator[dict[str, object]]:
    """Ranks of heads: the map against attention, and the map of one length against that of the other."""
    for mechanism in MECHANISMS:
        pairs = {
            "attention": (shares[mechanism], shares[f"{mechanism}, attention"]),
            "attention, sizes": (np.abs(shares[mechanism]), shares[f"{mechanism}, attention"]),
            "lengths": [one.of(mechanism) for one in maps],
        }
        yield {
            "mechanism": mechanism,
            **{name: f"{spearmanr(*map(np.ravel, pair)).statistic:.2f}" for name, pair in pairs.items()},
        }


def _write(name: str, rows: Sequence[dict[str, object]]) -> None:
    path = RESULTS / f"mechanisms-{name}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {path}", flush=True)


def _read(name: str) -> list[dict[str, str]]:
    with (RESULTS / f"mechanisms-{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def tables() -> None:
    """The page's tables, of the kept figures."""
    put(
        PAGE,
        {
            "cells": _cells_table(),
            "counts": _counts_table(),
            "removals": _removals_table(),
            "agreement": _agreement_table(),
        },
    )


def _cells_table() -> str:
    rows = [row for row in _read("cells") if row["model"] == "SmolLM2"]
    halves = [[row for row in rows if row["length"] == str(length)] for length in LENGTHS]
    body = [[cell for row in pair for cell in _cell(row)] for pair in zip(*halves, strict=True)]
    heads = [name for length in LENGTHS for name in (f"{length} words: head", "from", "share")]
    return table(heads, body)


def _cell(row: dict[str, str]) -> list[str]:
    where = row["source"] if row["source"] != "another" else f"{row['offset']} before"
    return [f"{row['layer']}.{row['head']}", where, f"{float(row['share']):+.3f}"]


def _counts_table() -> str:
    body = []
    for model, name in (("SmolLM2", "SmolLM2"), ("shuffled", "the same, its weights in random order")):
        rows = [row for row in _read("cells") if row["model"] == model]
        for length in LENGTHS:
            some = [row for row in rows if row["length"] == str(length)]
            counts = [sum(row["source"] == source for row in some) for source in (*MECHANISMS, "another")]
            size = mean(abs(float(row["share"])) for row in some)
            body.append([name, str(length), *map(str, counts), f"{size:.4f}"])
    return table(["model", "words", *MECHANISMS, "another", "mean size"], body)


def _removals_table() -> str:
    names = {
        "": "", "map": "by the map", "map, positive": "by the map, positive only",
        "attention": "by attention", "others": f"others of the layers of the first, {DRAWS} draws",
    }  # fmt: skip
    body = []
    for row in _read("removals"):
        least, most, drawn = float(row["twice least"]), float(row["twice most"]), row["heads of"] == "others"
        span = f" ({least:.2f} to {most:.2f})" if drawn else ""
        body.append([
            row["mechanism"], names[row["heads of"]], row["heads"].replace(" ", ", "),
            f"{float(row['twice']):.2f}{span}",
            f"{float(row['other']):.2f}",
        ])  # fmt: skip
    return table(["mechanism", "heads", "which", "loss, words that came before", "loss, other words"], body)


def _agreement_table() -> str:
    body = [list(row.values()) for row in _read("agreement")]
    return table(["mechanism", "map and attention", "sizes and attention", "map of 10 and of 14 words"], body)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--tables"]):
        sys.exit(f"{sys.argv[1:]} is not known; give nothing or --tables.")
    if not sys.argv[1:]:
        compute()
    tables()
