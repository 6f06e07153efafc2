"""Where the time of a whole call goes: products, element-wise work, bookkeeping, checks, Python.

    python benchmarks/profile_calls.py [--only minilm,smollm2]

Each call is run under PyTorch's profiler, after one that does not count. An operation belongs to the part of
the call that it is called from; in the path's own work, products are told from the rest. What no operation
takes is Python's. Subjects that are not named keep their rows.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer
from torch.profiler import ProfilerActivity, profile, record_function

import measure
import one_layer
import subjects
from floor import BASELINES
from ligflow import Explainer
from ligflow.corpus.runs import sentence_shard
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.worker import Model
from ligflow.corpus.tables.experiment import Experiment
from ligflow.explainer.current_copy import CurrentCopy
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.method.adaptive_quadrature import AdaptiveIntegration
from ligflow.prediction import chain, explain, matrix_points, path_points
from ligflow.routes import integration
from measure import Row, note, number, text
from throughput import corpus

# What is called from where; a call inside another one counts for itself.
CHECKS, RULE, PATH, TABLES = "checks", "rule", "path", "tables"
PARTS: list[tuple[Any, str, str]] = [
    (PreparedModel, "example", CHECKS),
    (CurrentCopy, "now", CHECKS),
    (explain, "question", CHECKS),
    (explain, "references_of", CHECKS),
    (explain, "taken_apart", CHECKS),
    (AdaptiveIntegration, "run", RULE),
    (chain, "average", RULE),
    (integration, "in_blocks", PATH),
    (path_points, "pulled_back", PATH),
    (matrix_points.MatrixPoints, "_slopes_at", PATH),
    (sentence_shard, "compare", TABLES),
    (sentence_shard, "certify", TABLES),
]
SENTENCES = 2  # of the corpus run
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::addmm_", "aten::dot", "aten::mv")
FUSED = "scaled_dot_product"
MARK = "part of the call: "
COLUMNS: measure.Columns = {
    "what": text("what"),
    "tokens": number("tokens", "d"),
    "CPU, s": number("seconds", ".2f"),
    "products": number("products", ".0%"),
    "element-wise": number("elements", ".0%"),
    "rule": number("rule", ".0%"),
    "runs and checks": number("checks", ".0%"),
    "tables": number("tables", ".0%"),
    "Python": number("python", ".0%"),
}
Only = Annotated[str, typer.Option(help="Subjects, with commas between.")]


def main(
    only: Only = "minilm,many,corpus,gpt2,smollm2,gemma",
    repeats: measure.Repeats = 3,
    threads: measure.Threads = 1,
    tiny: measure.Tiny = False,
    out: measure.Out = None,
) -> None:
    """Measure where the time of calls goes."""
    machine = measure.machine(measure.place("cpu", threads))
    settings = {"repeats": repeats, "tiny": tiny}
    caption = "CPU seconds without the profiler, the least; shares of the seconds with it."
    for name in ["tiny"] if tiny else only.split(","):
        rows = [row for row in measure.rows_of("profile_calls", out, settings) if row["subject"] != name]
        for what, tokens, call in SUBJECTS[name]():
            note(f"{what}, {tokens} tokens ...")
            row = {"subject": name, "what": what, "tokens": tokens}
            rows.append(row | shares(call, 1 if tiny else repeats))
        measure.report("profile_calls", out, machine, settings, rows, COLUMNS, caption)


Call = tuple[str, int, Callable[[], object]]


def of_minilm() -> Iterator[Call]:
    explainer = Explainer.from_pretrained()
    half = subjects.SENTENCE.split(", and")[0].replace("counted the ", "counted all of the ") + "."
    for told in (half, subjects.SENTENCE):
        count = len(explainer.tokenizer(told)["input_ids"])
        yield "MiniLM, `explain`", count, partial(explainer.explain, told)


def of_routes() -> Iterator[Call]:
    """Routes of one layer alone, and of each its floor: a product of as many operations (see `floor.py`)."""
    explainer, shape = subjects.minilm(torch.device("cpu"))
    alone = one_layer.record(explainer, subjects.SENTENCE, 0)
    tokens, weights = len(alone.tokens), torch.randn(shape.dim, shape.mlp_dim)
    for route, baselines in BASELINES.items():
        passed = shape.mlp() if route == "u2z" else shape.after_attention()
        for baseline in baselines:
            points = int(alone.attribute(route, baseline).nodes.sum())
            rows = torch.randn(4 * points * passed // (2 * weights.numel()), shape.dim)
            yield (
                f"MiniLM's first layer, `{route}`, `{baseline}`",
                tokens,
                partial(alone.attribute, route, baseline),
            )
            yield "its floor", tokens, partial(torch.mm, rows, weights)


def of_many() -> Iterator[Call]:
    explainer = Explainer.from_pretrained()
    texts = [subjects.SENTENCE.split(",")[0], *subjects.SENTENCE.split(", and")] * 4
    tokens = sum(len(ids) for ids in explainer.tokenizer(texts)["input_ids"])
    yield f"MiniLM, `explain_many`, {len(texts)} texts", tokens, lambda: [*explainer.explain_many(texts)]


def of_corpus() -> Iterator[Call]:
    explainer, sentences = Explainer.from_pretrained(), [*corpus(SENTENCES).read()]
    tokens = sum(len(explainer.tokenizer(each.text)["input_ids"]) for each in sentences)
    yield f"MiniLM, `corpus run`, {len(sentences)} sentences", tokens, corpus_run


def corpus_run() -> None:
    """The consistency experiment on a few sentences, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder) / "run", corpus(SENTENCES), Model("embedded:minilm"), Experiment())


def of_gpt2() -> Iterator[Call]:
    explainer = subjects.build(subjects.shape("gpt2", False), torch.device("cpu"), layers=2)
    inputs = subjects.inputs(64)
    yield "2 layers of GPT-2's shape, `explain`", 64, lambda: explainer.explain(inputs)


def of_decoder(name: str, title: str) -> Callable[[], Iterator[Call]]:
    def calls() -> Iterator[Call]:
        explainer = Explainer.from_pretrained(f"embedded:{name}")
        ids = explainer.tokenizer(f"{subjects.SENTENCE} {subjects.SENTENCE}")["input_ids"]
        short, long = ({"input_ids": torch.tensor([ids[:count]])} for count in (20, 64))
        yield f"{title}, `why`", 64, lambda: explainer.explain_prediction(long, edges=())
        yield f"{title}, `explain`, 6 layers", 20, lambda: explainer.explain(short, layers="0-5")

    return calls


def of_tiny() -> Iterator[Call]:
    explainer, inputs = subjects.tiny_decoder(torch.float32), subjects.inputs(5)
    yield "tiny, `explain`", 5, lambda: explainer.explain(inputs)
    yield "tiny, `why`", 5, lambda: explainer.explain_prediction(inputs, edges=())


SUBJECTS: dict[str, Callable[[], Iterator[Call]]] = {
    "minilm": of_minilm,
    "routes": of_routes,
    "many": of_many,
    "corpus": of_corpus,
    "gpt2": of_gpt2,
    "gemma": of_decoder("gemma-3-270m", "Gemma-3-270M"),
    "smollm2": of_decoder("smollm2", "SmolLM2"),
    "tiny": of_tiny,
}


def shares(call: Callable[[], object], repeats: int) -> Row:
    """CPU seconds of a call, and what of its time each kind of work takes."""
    [seconds] = measure.least([call], repeats)
    with named_parts(), profile(activities=[ProfilerActivity.CPU]) as profiled, record_function(MARK):
        call()
    spent = dict.fromkeys(("products", "elements", RULE, "checks", TABLES, "python"), 0.0)
    for name, part, time in own_times(profiled):
        spent[kind_of(name, part)] += time
    whole = sum(spent.values())
    return {"seconds": seconds, **{kind: time / whole for kind, time in spent.items()}}


def own_times(profiled: Any) -> Iterator[tuple[str, str, float]]:
    """Operations of the call: name, the part that each belongs to, and its time without those inside it.

    Of the raw events, since `profiled.events()` takes many times as long as the call.
    """
    events = [(e.start_ns(), -e.duration_ns(), e.name()) for e in profiled.profiler.kineto_results.events()]
    around: list[tuple[int, str, str]] = []  # ends, names and parts of those that the event is inside
    own: list[float] = []
    for start, less, name in sorted(events):
        while around and around[-1][0] <= start:
            yield (*around.pop()[1:], own.pop())
        if not around and name != MARK:
            continue  # not of the call
        if own:
            own[-1] += less
        part = name.removeprefix(MARK) if name.startswith(MARK) else around[-1][2]
        around.append((start - less, name, part))
        own.append(-less)
    while around:
        yield (*around.pop()[1:], own.pop())


def kind_of(name: str, part: str) -> str:
    """The column of an operation."""
    if part in (CHECKS, RULE, TABLES):
        return part
    if name.startswith(MARK):
        return "python"
    return "products" if name in PRODUCTS or FUSED in name else "elements"


@contextmanager
def named_parts() -> Iterator[None]:
    """The functions of `PARTS` are noted by the profiler meanwhile."""
    with ExitStack() as stack:
        for owner, name, part in PARTS:
            stack.enter_context(patch.object(owner, name, noted(getattr(owner, name), part)))
        yield


def noted(function: Callable[..., Any], part: str) -> Callable[..., Any]:
    """The same function, which the profiler sees as a part of the call."""

    @wraps(function)
    def inside(*args: Any, **options: Any) -> Any:
        with record_function(MARK + part):
            return function(*args, **options)

    return inside


if __name__ == "__main__":
    measure.run(main)
