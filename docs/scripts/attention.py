"""How LIG's map of a head differs from its attention, by its parts; writes explanation/attention.md.

Run: python docs/scripts/attention.py [minilm] [smollm2] [gemma]   (0.3, 5 and 2 minutes of one core)
Each sentence is kept in `runs/attention/`, so that an interrupted run goes on. Tables by layer and by head
are kept in `benchmarks/results`; the figures and the page are made from these.
"""

import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import pandas
from attention_figures import by_layer, heads
from attention_maps import BASELINES, maps_of, measured
from blocks import put

from ligflow import CompletenessWarning, Explainer
from ligflow.corpus.reports.files import LOOK, write_figure
from ligflow.corpus.reports.markdown import table
from ligflow.corpus.sources.readers import read
from ligflow.evaluation.bootstrap import interval, weights
from ligflow.evaluation.shuffled_weights import with_shuffled_weights
from ligflow.files import write_made, write_text

ROOT = Path(__file__).parents[2]
RUNS, RESULTS = ROOT / "runs" / "attention", ROOT / "benchmarks" / "results"
PICTURES, PAGE = ROOT / "docs" / "pictures", ROOT / "docs" / "explanation" / "attention.md"
MODELS = {"minilm": "embedded:minilm", "smollm2": "embedded:smollm2", "gemma": "embedded:gemma-3-270m"}
NAMES = {"minilm": "MiniLM", "smollm2": "SmolLM2", "gemma": "Gemma-3-270M"}
SENTENCES, SHUFFLED, DRAWS = 20, 6, 2000
WORDS = range(8, 17)
DISTANCES = {
    "attention sizes": "attention and values' sizes",
    "attention outputs": "attention and values' sizes after the output matrix",
    "attention value": "attention and LIG's value part", "attention lig": "attention and LIG",
    "sizes lig": "values' sizes and LIG", "outputs lig": "values' sizes after the output matrix and LIG",
    "value lig": "LIG's value part and LIG", "control": "attention and LIG of the next head (control)",
}  # fmt: skip
ASIDE = {
    "attention": "attention", "sizes": "values' sizes", "outputs": "values' sizes after the output matrix",
    "lig": "LIG",
}  # fmt: skip
Measures = Mapping[str, np.ndarray]  # each [sentence, layer, head]


# --- what is computed ---------------------------------------------------------------------------------


def sentences() -> Iterator[tuple[int, str]]:
    """The first sentences of the shipped corpus that are neither short nor long."""
    fit = ((one.number, one.text) for one in read("embedded:sentences") if len(one.text.split()) in WORDS)
    return islice(fit, SENTENCES)


def compute(name: str) -> None:
    """The measures of every sentence that is not kept, of the model and of one with shuffled weights."""
    model = Explainer.from_pretrained(MODELS[name])
    of_model(model, RUNS / name, list(sentences()))
    twin = Explainer(with_shuffled_weights(model.model), model.tokenizer)
    of_model(twin, RUNS / f"{name}-shuffled", list(sentences())[:SHUFFLED])


def of_model(explainer: Explainer, folder: Path, texts: list[tuple[int, str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in texts:
        path = folder / f"{number}.npz"
        if path.exists():
            continue
        begin, values = time.process_time(), measured(maps_of(explainer, text))
        write_made(path, lambda file, values=values: np.savez_compressed(file, **values))
        print(f"{folder.name} {number}: {time.process_time() - begin:.1f} s", flush=True)


# --- what is kept of it -------------------------------------------------------------------------------


def kept(folder: Path) -> Measures:
    files = [dict(np.load(file)) for file in sorted(folder.glob("*.npz"), key=lambda path: int(path.stem))]
    return {name: np.stack([file[name] for file in files]) for name in files[0]}


def parts_of(values: Measures, baseline: str, part: str) -> np.ndarray:
    """A part of all three by size, of sums over a sentence, `[sentence, layer, head]`."""
    every = {name: values[f"{baseline} sum {name}"] for name in ("value", "key", "query")}
    return every[part] / sum(every.values())


def rows(values: Measures) -> Iterator[dict[str, object]]:
    """Means over sentences with their intervals: of all layers (layer -1), and by layer."""
    for baseline in BASELINES:
        measures = {
            f"words {name}": values[f"{baseline} words {name}"] for name in (*DISTANCES, "same source")
        }
        measures |= {f"all {name}": values[f"{baseline} all {name}"] for name in (*DISTANCES, "same source")}
        measures |= {f"aside {name}": values[f"{baseline} aside {name}"] for name in ASIDE}
        measures |= {f"part {name}": parts_of(values, baseline, name) for name in ("value", "key", "query")}
        for name, each in measures.items():
            whole, layers = np.nanmean(each, (1, 2))[:, None], np.nanmean(each, 2)
            for layer, column in enumerate(np.concatenate([whole, layers], 1).T, start=-1):
                drawn = weights(0, range(len(column)), DRAWS)
                with np.errstate(invalid="ignore"):  # draws of no sentence have no mean
                    low, high = interval((drawn @ column / drawn.sum(1))[1:, None])
                yield {
                    "baseline": baseline, "measure": name, "layer": layer, "mean": column.mean(),
                    "low": low[0], "high": high[0], "sentences": len(column),
                }  # fmt: skip


def of_heads(values: Measures) -> Iterator[dict[str, object]]:
    """Parts of each head, of all sentences and of each half of them."""
    for baseline in BASELINES:
        shares = {name: parts_of(values, baseline, name) for name in ("value", "key", "query")}
        halves = [shares["value"][begin::2].mean(0) for begin in (0, 1)]
        for layer, head in np.ndindex(*halves[0].shape):
            means = {name: share[:, layer, head].mean() for name, share in shares.items()}
            ends = {"first half": halves[0][layer, head], "second half": halves[1][layer, head]}
            yield {"baseline": baseline, "layer": layer, "head": head} | means | ends


def keep(name: str) -> None:
    for twin in ("", "-shuffled"):
        values = kept(RUNS / f"{name}{twin}")
        for kind, make in (("layers", rows), ("heads", of_heads)):
            frame = pandas.DataFrame(make(values))
            path = RESULTS / f"attention-{name}{twin}-{kind}.csv"
            write_text(path, frame.to_csv(index=False, float_format="%.4f"))


# --- the page -----------------------------------------------------------------------------------------


def read_kept(name: str, kind: str) -> pandas.DataFrame:
    return pandas.read_csv(RESULTS / f"attention-{name}-{kind}.csv")


def cell(frame: pandas.DataFrame, measure: str, baseline: str = "itb") -> str:
    row = frame[(frame.baseline == baseline) & (frame.measure == measure) & (frame.layer == -1)].iloc[0]
    return f"{row['mean']:.2f} ({row.low:.2f} to {row.high:.2f})"


def blocks() -> Iterator[tuple[str, str]]:
    frames = {name: read_kept(name, "layers") for name in MODELS}
    twins = {name: read_kept(f"{name}-shuffled", "layers") for name in MODELS}
    names = [NAMES[name] for name in MODELS]
    for over in ("words", "all"):
        lines = [
            [said, *(cell(each, f"{over} {key}") for each in frames.values())]
            for key, said in DISTANCES.items()
        ]
        lines.append(
            [
                "same strongest source, attention and LIG",
                *(cell(each, f"{over} same source") for each in frames.values()),
            ]
        )
        yield f"distances-{over}", table(["", *names], lines)
    yield (
        "aside",
        table(
            ["", *names],
            [[text, *(cell(f, f"aside {key}") for f in frames.values())] for key, text in ASIDE.items()],
        ),
    )
    lines = [
        [
            f"{part}, from {'the target' if base == 'itb' else 'the mean'}{note}",
            *(cell(f, f"part {part}", base) for f in group.values()),
        ]
        for base, parts in (("itb", ("value", "key")), ("mean", ("value", "key", "query")))
        for part in parts
        for note, group in (("", frames), (", shuffled weights", twins))
    ]
    yield "parts", table(["", *names], lines)
    yield (
        "heads",
        table(
            ["model", "mostly read (value part)", "look most (value part)", "halves agree"],
            [_heads(n) for n in MODELS],
        ),
    )


def _heads(name: str) -> list[str]:
    frame = read_kept(name, "heads")
    frame = frame[frame.baseline == "itb"].sort_values("value")
    agree = frame["first half"].corr(frame["second half"])
    ends = (frame[::-1].head(3), frame.head(3))
    listed = [", ".join(f"{r.layer}.{r.head} ({r.value:.0%})" for r in end.itertuples()) for end in ends]
    return [NAMES[name], *listed, f"{agree:.2f}"]


def draw() -> None:
    """Figures and page, from the kept tables alone."""
    frames = {NAMES[name]: read_kept(name, "layers") for name in MODELS}
    tables = {NAMES[name]: read_kept(name, "heads") for name in MODELS}
    for path, figure, data in (("layers", by_layer, frames), ("heads", heads, tables)):
        write_figure(PICTURES / f"attention-{path}", LOOK, figure, data)
        (PICTURES / f"attention-{path}.png").unlink()
    put(PAGE, dict(blocks()))


if __name__ == "__main__":
    warnings.simplefilter("ignore", CompletenessWarning)
    for name in sys.argv[1:] or MODELS:
        compute(name)
        keep(name)
    draw()
