"""Sentences a minute of the consistency experiment, what they cost, and what many more would take.

    python benchmarks/throughput.py [--device cuda] [--sentences 60] [--model embedded:minilm]

All integrals and controls of the shipped corpus, one run an engine. The unavoidable products of a
sentence are `sum over layers, routes and baselines of T x (mean points) x 4 x weights`, with the weights that
a target passes after attention (see floor.py); their share of the machine's own float32 product is printed.
"""

import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch

import measure
from ligflow.corpus.analysis.estimates import estimate
from ligflow.corpus.runs.engines import Engine, here, processes
from ligflow.corpus.runs.ray_engine import actors
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run
from ligflow.corpus.runs.worker import Model, loaded
from ligflow.corpus.sources.corpus import Corpus
from ligflow.corpus.sources.readers import read
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.comparisons import compare
from ligflow.corpus.tables.experiment import VARIANTS, Experiment, named
from ligflow.corpus.tables.schema import DIRECT, PAIRS, RULES
from measure import Row, note, number, text

SOME = 10  # sentences whose comparisons are timed
MANY = (1_000_000, 1_000_000_000)
COLUMNS: measure.Columns = {
    "what": text("what"),
    "sentences": number("sentences", "d"),
    "tokens": number("tokens", ".1f"),
    "a minute": number("a_minute", ".0f"),
    "points a target and layer": number("points", ".0f"),
    "Gflop a sentence": number("gigaflops", ".0f"),
    "share of the product's rate": number("fraction", ".2f"),
    "MB a sentence": number("megabytes", ".2f"),
    "comparisons, s": number("comparison_seconds", ".3f"),
    "report, ms": number("report_milliseconds", ".0f"),
    "1M: days": number("million_days", ".2g"),
    "1M: GB": number("million_gigabytes", ".0f"),
    "1G: days": number("billion_days", ".2g"),
    "1G: TB": number("billion_terabytes", ".0f"),
}


def main(
    device: measure.Device = "cpu",
    threads: measure.Threads = None,
    sentences: int = 60,
    layers: str | None = None,
    model: str = "embedded:minilm",
    ray: bool = True,
    tiny: measure.Tiny = False,
    out: measure.Out = None,
) -> None:
    """Measure each engine on the shipped corpus."""
    where = measure.place(device, threads)
    chosen = None if layers is None else tuple(int(part) for part in layers.split(","))
    experiment = Experiment(layers=(0,) if tiny else chosen)
    count = 2 if tiny else sentences
    rows = []
    for what, engine in engines(str(where), 2, ray and not tiny).items():
        note(f"{what} ...")
        rows.append({"what": what, **of_engine(engine, Model(model), experiment, count, where)})
    report = {"sentences": count, "layers": chosen, "model": model, "tiny": tiny}
    pairs = len(DIRECT) * len(PAIRS) * len(RULES)
    counts = f"{len(VARIANTS)} integrals, {pairs} comparisons and controls a target"
    caption = f"{counts}, with and without the diagonal."
    measure.report("throughput", out, measure.machine(where), report, rows, COLUMNS, caption)


def engines(device: str, workers: int, ray: bool) -> dict[str, Engine]:
    """Every engine, on one device or on the cores of this machine."""
    on_cpu = device == "cpu"
    found: dict[str, Engine] = {"one process": here(None if on_cpu else device)}
    found[f"{workers} processes"] = processes([None if on_cpu else device], workers)
    if ray and on_cpu:
        found[f"{workers} Ray actors"] = actors(workers=workers, address="local")
    return found


def corpus(count: int) -> Corpus[Sentence]:
    """The first sentences of the shipped corpus."""

    def sentences() -> Iterator[Sentence]:
        return (one for one in islice(read("embedded:sentences"), count) if isinstance(one, Sentence))

    return Corpus(sentences, {"source": "embedded:sentences"})


def of_engine(engine: Engine, model: Model, experiment: Experiment, count: int, where: torch.device) -> Row:
    """One run, timed from the first shard to the last: loading a model is not part of it."""
    times: list[float] = []
    size = max(1, count // 6)
    with tempfile.TemporaryDirectory() as folder:
        found = run(folder, corpus(count), model, experiment, engine=engine, shard_size=size,
                    progress=lambda _: times.append(time.perf_counter()))  # fmt: skip
        seconds = (times[-1] - times[0]) / count
        cost = {
            **costs(found, model),
            "megabytes": stored(found) / count / 1e6,
            **on_top(found, model, experiment),
        }
    rate = measure.medians([product(where)[0]], where, 5)[0]
    per_second = product(where)[1] / rate / 1e9
    days = seconds / 86_400
    return {
        **cost,
        "sentences": count,
        "a_minute": 60 / seconds,
        "fraction": cost["gigaflops"] / seconds / per_second,
        "million_days": MANY[0] * days,
        "million_gigabytes": MANY[0] * cost["megabytes"] / 1e3,
        "billion_days": MANY[1] * days,
        "billion_terabytes": MANY[1] * cost["megabytes"] / 1e6,
    }


def on_top(found: Run, model: Model, experiment: Experiment) -> Row:
    """What a sentence takes besides its integrals: its comparisons, and to be read for a report."""
    explainer = loaded(model)
    some = [one for shard in found.done for one in found.sentences(shard)][:SOME]
    inputs = [one.inputs for one in some]
    flows = explainer.explain_many_under(inputs, experiment.variants, layers=experiment.layers)
    given = [
        (one.number, named(of_one), explainer.attention(one.inputs, layers=list(of_one[0].layers)))
        for one, of_one in zip(some, flows, strict=True)
    ]
    began = time.perf_counter()
    for one in given:
        compare(*one, experiment)
    compared = time.perf_counter()
    estimate(found)
    read_s = time.perf_counter() - compared
    count = sum(found.size(shard) for shard in found.done)
    return {
        "comparison_seconds": (compared - began) / len(given),
        "report_milliseconds": 1000 * read_s / count,
    }


def product(where: torch.device) -> tuple[Any, float]:
    return measure.matmul(where, 384, 1536)


def stored(found: Run) -> int:
    """Bytes of all finished shards."""
    return sum(path.stat().st_size for path in found.folder.glob("shards/*/*"))


def costs(found: Run, model: Model) -> Row:
    """Mean tokens, points of a target and layer over all integrals, and operations of a sentence."""
    cells = [found.table(shard, "cells").to_pandas() for shard in found.done]
    sentences = [found.table(shard, "sentences").to_pandas() for shard in found.done]
    tokens = float(torch.tensor([float(t) for part in sentences for t in part["tokens"]]).mean())
    weights = after_attention(model)
    points = {"u2z": 0.0, "z2z": 0.0}
    for route in points:
        baselines = [each for of, each in VARIANTS if of == route and not each.endswith("_ratio")]
        for baseline in baselines:
            nodes = [float(n) for part in cells for n in _nodes(part, route, baseline)]
            points[route] += sum(nodes) / len(nodes)
    layers = len({int(layer) for part in cells for layer in part["layer"]})
    operations = 4 * tokens * layers * sum(points[route] * weights[route] for route in points)
    return {"tokens": tokens, "points": sum(points.values()), "gigaflops": operations / 1e9}


def _nodes(cells: Any, route: str, baseline: str) -> Any:
    return cells[(cells["route"] == route) & (cells["baseline"] == baseline)]["nodes"]


def after_attention(model: Model) -> dict[str, int]:
    """Weights that a target passes after attention, and without the output projection."""
    config = loaded(model).model.config.get_text_config()
    gated = 3 if hasattr(config, "hidden_activation") or hasattr(config, "mlp_bias") else 2
    mlp = gated * config.hidden_size * config.intermediate_size
    return {"z2z": config.hidden_size**2 + mlp, "u2z": mlp}


if __name__ == "__main__":
    measure.run(main)
