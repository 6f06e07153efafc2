"""Questions that were asked of attention, asked of LIG too: Clark et al. 2019, Jain and Wallace 2019.

Run: python docs/scripts/attention_questions.py [--tables]   (two minutes of one core)

MiniLM, sentences of the shipped corpus. Each sentence is kept in `runs/attention-questions/`, so that an
interrupted run goes on. Makes `benchmarks/results/attention-questions-*.csv`, a figure, and the tables of
explanation/related.md; with --tables figure and page alone, of the tables that are there.
"""

import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas
import torch
from attention import sentences
from attention_maps import Sentence, maps_of
from blocks import put
from head_distances import by_head, drawing, js_distances, layers_apart
from jaxtyping import Bool, Float
from permuted_rows import permuted
from torch import Tensor

from ligflow import CompletenessWarning, Explainer
from ligflow.corpus.reports.files import LOOK, write_figure
from ligflow.corpus.reports.markdown import table
from ligflow.evaluation.bootstrap import interval, weights
from ligflow.files import write_made, write_text

ROOT = Path(__file__).parents[2]
RUNS, RESULTS = ROOT / "runs" / "attention-questions", ROOT / "benchmarks" / "results"
PAGE, PICTURE = ROOT / "docs" / "explanation" / "related.md", ROOT / "docs" / "pictures" / "heads-apart"
PERMUTED = {
    "attention": "attention",
    "sizes": "values' sizes",
    "lig": "LIG (`itb`), weights held",
    "random": "a random distance (control)",
}
DRAWS = 2000
KINDS = {"attention": "attention", "outputs": "values' sizes after the output matrix", "lig": "LIG (`itb`)"}
Measures = Mapping[str, np.ndarray]


def measured(explainer: Explainer, text: str) -> dict[str, np.ndarray]:
    """What is kept of a sentence: by layer and head, and the distances of all pairs of heads."""
    maps = maps_of(explainer, text)
    rows = {kind: shares(each, maps) for kind, each in compared(maps).items()}
    first, last = 0, len(maps.aside) - 1
    full_stop = torch.tensor([token in ".,;:!?" for token in maps.flows["itb"].tokens])
    values: dict[str, np.ndarray] = {}
    for kind, each in rows.items():
        mean = each.nanmean(2)
        values[f"{kind} cls"] = mean[..., first].numpy()
        values[f"{kind} sep"] = mean[..., last].numpy()
        values[f"{kind} punctuation"] = mean[..., full_stop].sum(-1).numpy()
        values[f"{kind} entropy"] = entropy(each).nanmean(-1).numpy()
        values[f"{kind} distances"] = js_distances(each)
    return values | permuted(explainer, text)


def compared(maps: Sentence) -> dict[str, Tensor]:
    return {"attention": maps.attention, "outputs": maps.outputs, "lig": maps.flows["itb"].z2u.abs()}


def shares(sizes: Float[Tensor, "layer head target source"], maps: Sentence) -> Tensor:
    """Rows of words as shares of all sources but the target itself; NaN where a row has nothing."""
    kept = torch.where(mask(maps), sizes.double(), 0)
    return kept[:, :, ~maps.aside] / kept[:, :, ~maps.aside].sum(-1, keepdim=True)


def mask(maps: Sentence) -> Bool[Tensor, "target source"]:
    return ~torch.eye(len(maps.aside), dtype=torch.bool)


def entropy(rows: Float[Tensor, "... source"]) -> Float[Tensor, "..."]:
    """`-sum_k p_k log p_k`, in nats."""
    return -torch.where(rows > 0, rows * rows.log(), 0).sum(-1)


# --- what is kept of it -------------------------------------------------------------------------------


def compute() -> None:
    RUNS.mkdir(parents=True, exist_ok=True)
    explainer = Explainer.from_pretrained("embedded:minilm")
    for number, text in sentences():
        path = RUNS / f"{number}.npz"
        if not path.exists():
            begin, values = time.process_time(), measured(explainer, text)
            write_made(path, lambda file, values=values: np.savez_compressed(file, **values))
            print(f"{number}: {time.process_time() - begin:.1f} s", flush=True)


def keep() -> None:
    files = [dict(np.load(path)) for path in sorted(RUNS.glob("*.npz"), key=lambda path: int(path.stem))]
    values = {name: np.stack([file[name] for file in files]) for name in files[0]}
    write("measures", pandas.DataFrame(rows_of(values)))
    distances = {kind: values[f"{kind} distances"] for kind in KINDS}
    write("heads", by_head({kind: each.mean(0) for kind, each in distances.items()}))
    write("distances", pandas.DataFrame(layers_apart(distances, DRAWS)))


def write(name: str, frame: pandas.DataFrame) -> None:
    write_text(RESULTS / f"attention-questions-{name}.csv", frame.to_csv(index=False, float_format="%.4f"))


def read(name: str) -> pandas.DataFrame:
    return pandas.read_csv(RESULTS / f"attention-questions-{name}.csv")


def rows_of(values: Measures) -> Iterator[dict[str, object]]:
    """Means over sentences with their intervals, of all layers (-1) and by layer."""
    for name, each in values.items():
        if name.endswith("distances"):
            continue
        whole, layers = np.nanmean(each, (1, 2))[:, None], np.nanmean(each, 2)
        for layer, column in enumerate(np.concatenate([whole, layers], 1).T, start=-1):
            drawn = weights(0, range(len(column)), DRAWS)[1:]
            with np.errstate(invalid="ignore"):  # draws of no sentence have no mean
                low, high = interval((drawn @ column / drawn.sum(1))[:, None])
            measure = {"measure": name, "layer": layer, "mean": column.mean()}
            yield measure | {"low": low[0], "high": high[0], "sentences": len(column)}


# --- the page -----------------------------------------------------------------------------------------


def blocks() -> Iterator[tuple[str, str]]:
    frame = read("measures")
    layers = sorted(set(frame.layer) - {-1})
    lines = [
        [f"{said}: {text}", *(_short(frame, f"{kind} {key}", layer) for layer in layers)]
        for key, said in (("sep", "share of [SEP]"), ("cls", "share of [CLS]"), ("entropy", "entropy, nats"))
        for kind, text in KINDS.items()
    ]
    yield "clark-layers", table(["by layer", *map(str, layers)], lines)
    apart = read("distances").set_index("kind")
    lines = [
        [KINDS[kind], _spread(apart.loc[kind], "same"), _spread(apart.loc[kind], "other"),
         _spread(apart.loc[kind], "alike") if kind != "attention" else "1"]
        for kind in KINDS
    ]  # fmt: skip
    head = ["", "heads of one layer", "of two layers", "order of pairs as attention's (Spearman)"]
    yield "clark-heads", table(head, lines)
    lines = [[text, _cell(frame, f"permuted follows {kind}")] for kind, text in PERMUTED.items()]
    yield "permuted", table(["map", "its move follows the head's output (Spearman)"], lines)
    yield "permuted-moves", f"{_cell(frame, 'permuted moved')} of its length"


def _row(frame: pandas.DataFrame, measure: str, layer: int) -> pandas.Series:
    return frame[(frame.measure == measure) & (frame.layer == layer)].iloc[0]


def _cell(frame: pandas.DataFrame, measure: str) -> str:
    row = _row(frame, measure, -1)
    return f"{row['mean']:.2f} ({row.low:.2f} to {row.high:.2f})"


def _short(frame: pandas.DataFrame, measure: str, layer: int) -> str:
    return f"{_row(frame, measure, layer)['mean']:.2f}"


def _spread(row: pandas.Series, name: str) -> str:
    return f"{row[name]:.2f} ({row[f'{name} low']:.2f} to {row[f'{name} high']:.2f})"


def draw() -> None:
    write_figure(PICTURE, LOOK, drawing, read("heads"))
    PICTURE.with_suffix(".png").unlink()
    put(PAGE, dict(blocks()))


if __name__ == "__main__":
    warnings.simplefilter("ignore", CompletenessWarning)
    if "--tables" not in sys.argv:
        compute()
        keep()
    draw()
