"""What a GPU is for, in ten minutes, and whether its numbers are those of the CPU.

    python benchmarks/gpu.py [--device cuda] [--only why]

A whole BERT-base, a corpus of newswire length, a layer of the shape of Llama-8B, layers of it that come to
the device in turn, why a model of the shape of Llama-1B predicts what it does, and the largest difference
from the CPU. All weights are random. Each part runs in a process of its own, which is ended at its time
limit: one that fails, or hangs, leaves a row that says so, and the others stay. `docs/scripts/gpu.py` makes
the table of docs/how-to/devices.md from what is written. On a CPU it is run with --tiny, to see that it runs.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

import floor
import measure
import subjects
from ligflow import Explainer, Flow
from measure import Row, note, number, text

# All that the 24 combinations of baselines need: two starts a route; the ratios are made from both.
PAIRS: tuple[Row, ...] = (
    {"att_baseline": "itb", "mlp_baseline": "att_itb_a0", "layer_baseline": "itb"},
    {"att_baseline": "zero", "mlp_baseline": "zero", "layer_baseline": "zero"},
)
SENTENCES, TOGETHER = 1700, 50  # sentences of the corpus; those that are explained in one call
SHARE = 0.8  # of its time that the corpus takes, start and warm-up beside it
AGREES = 1e-4  # of a row's size
COLUMNS: measure.Columns = {
    "what": text("what"),
    "sentences": number("sentences", "d"),
    "T": number("tokens", ".1f"),
    "seconds": number("seconds"),
    "sentences/s": number("rate", ".1f"),
    "peak MiB": number("peak", ".0f"),
    "mean points": number("nodes", ".1f"),
    "fraction of the floor": number("fraction", ".2f"),
    "over a forward and backward": number("times", ".1f"),
    "from the CPU": number("error", ".1e"),
    "said": text("said"),
}


@dataclass(frozen=True)
class Part:
    """What is measured, and the seconds after which it is ended."""

    rows: Callable[[torch.device, int, bool], Iterator[Row]]
    limit: float


def main(
    device: measure.Device = "cuda",
    repeats: measure.Repeats = 5,
    tiny: measure.Tiny = False,
    only: Annotated[str | None, typer.Option(help="One part alone, in this process.")] = None,
    out: measure.Out = None,
) -> None:
    """Measure on a GPU."""
    where = measure.place(device)
    if where.type == "cpu" and not tiny:
        raise SystemExit(
            "On a CPU this takes hours: give a GPU with --device, or --tiny to see that it runs."
        )
    if only is not None and only not in PARTS:
        raise SystemExit(f"There is no part {only!r}; choose from {', '.join(PARTS)}.")
    rows: list[Row] = []
    for name in PARTS if only is None else [only]:
        note(f"{name} ...")
        here = tiny or only is not None
        rows += rows_here(name, where, repeats, tiny) if here else rows_apart(name, device, repeats)
    settings = {"quadrature": "adaptive", "tol": 1e-3, "repeats": repeats, "tiny": tiny}
    caption = "Fraction of the floor: see floor.py. From the CPU: the largest difference, of a row's size."
    measure.report("gpu", out, measure.machine(where), settings, rows, COLUMNS, caption)


def rows_here(name: str, device: torch.device, repeats: int, tiny: bool) -> list[Row]:
    """The rows of a part, and one that says why it ended, where it failed."""
    rows = []
    try:
        for row in PARTS[name].rows(device, repeats, tiny):
            rows.append({"part": name, **row})
    except Exception as error:  # whatever a GPU, its driver or its memory say
        rows.append({"part": name, "what": name, "said": f"failed: {type(error).__name__}: {error}"})
    return rows


def rows_apart(name: str, device: str, repeats: int) -> list[Row]:
    """The rows of a part that runs in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        options = ["--device", device, "--repeats", str(repeats), "--only", name, "--out", str(out)]
        said = ended([sys.executable, __file__, *options], PARTS[name].limit)
        if said:
            return [{"part": name, "what": name, "said": said}]
        rows: list[Row] = json.loads(out.read_text())["rows"]
        return rows


def ended(command: Sequence[str], limit: float) -> str:
    """Runs a command for `limit` seconds at most: why it did not end well, or ''."""
    try:
        done = subprocess.run(command, timeout=limit, capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired:
        return f"not finished in {limit:.0f} s"
    last = (done.stderr.strip().splitlines() or [""])[-1]
    return f"failed ({done.returncode}): {last}" if done.returncode else ""


# --- parts ----------------------------------------------------------------------------------------


def agreement(device: torch.device, _repeats: int, tiny: bool) -> Iterator[Row]:
    """Maps and a prediction on the device, plain and streamed, beside those on the CPU."""
    cpu = torch.device("cpu")
    example = subjects.inputs(5 if tiny else 12)
    for name in ("bert-base", "llama-like"):
        model = subjects.build(subjects.shape(name, tiny), cpu, 2).model
        expected = Explainer(model).explain(example)
        for way, streamed in (("", False), (", streamed", True)):
            found = Explainer(model, device=str(device), streamed=streamed).explain(example)
            yield _difference(f"maps of {name}{way}", map_difference(found, expected))
    model = subjects.decoder("llama-like", cpu, 2, tiny).model
    known, found = (
        Explainer(model, device=str(place)).explain_prediction(example, answer=7, reference="mean")
        for place in (cpu, device)
    )
    gap = float((found.relevance.cpu() - known.relevance).abs().max()) / known.scale
    yield _difference("a prediction of llama-like", gap)


def map_difference(flow: Flow, expected: Flow) -> float:
    """The largest difference of a cell, of its row's scale."""
    gaps = []
    for route in expected.routes:
        gap = (flow.tensors[route] - expected.tensors[route]).abs()
        largest = gap.amax(1 if route == "u2z" else -1)
        gaps.append(float((largest / expected.tensors[f"{route}.scale"]).max()))
    return max(gaps)


def _difference(what: str, error: float) -> Row:
    return {"what": what, "error": error, "said": "agrees" if error < AGREES else "DIFFERS"}


def sentence(device: torch.device, repeats: int, tiny: bool) -> Iterator[Row]:
    """One sentence, all layers."""
    tokens, layers = (5, 2) if tiny else (41, 12)
    explainer, example = _bert(device, layers, tiny), subjects.inputs(tokens)
    measure.start_memory(device)
    nodes = float(explainer.explain(example).nodes("z2z").float().mean())
    (seconds,) = measure.medians([lambda: explainer.explain(example)], device, repeats)
    row = {"what": f"BERT-base, {layers} layers, three routes", "sentences": 1, "tokens": tokens}
    row |= {"nodes": nodes, "seconds": seconds, "rate": 1 / seconds}
    yield row | {"peak": measure.peak_memory(device)}


def corpus(device: torch.device, _repeats: int, tiny: bool) -> Iterator[Row]:
    """As many sentences as there is time for, once, after a warm-up on the first ones."""
    layers, count = (2, 3) if tiny else (12, SENTENCES)
    explainer, texts = _bert(device, layers, tiny), subjects.sentences(count)
    explain_all(explainer, texts[:8])
    measure.start_memory(device)
    begin, tokens = time.perf_counter(), list[int]()
    for first in range(0, count, TOGETHER):
        tokens += explain_all(explainer, texts[first : first + TOGETHER])
        if time.perf_counter() - begin > SHARE * PARTS["corpus"].limit:
            break
    seconds = time.perf_counter() - begin
    done = len(tokens)
    row = {"what": f"BERT-base, {layers} layers, three routes, baselines of all 24 pairs", "sentences": done}
    row |= {"tokens": sum(tokens) / done, "seconds": seconds, "rate": done / seconds}
    row |= {"said": "" if done == count else f"{done} of {count} in the time that there is"}
    yield row | {"peak": measure.peak_memory(device)}


def explain_all(explainer: Explainer, texts: Sequence[str]) -> list[int]:
    """Every text from both starts; the tokens of each. No flow is kept."""
    lengths: list[int] = []
    for baselines in PAIRS:
        lengths = [len(flow.tokens) for flow in explainer.explain_many(texts, **baselines)]
    return lengths


def layer(device: torch.device, repeats: int, tiny: bool) -> Iterator[Row]:
    """A layer of the shape of Llama-8B."""
    alone, shape = floor.subject("llama-8b", 5 if tiny else 256, device, tiny)
    measure.start_memory(device)
    found = floor.fraction(alone, shape, "z2z", "itb", repeats)
    yield {"what": "Llama-8B shape, one layer, z2z", **found, "peak": measure.peak_memory(device)}


def streaming(device: torch.device, repeats: int, tiny: bool) -> Iterator[Row]:
    """Layers of Llama-8B's shape in bfloat16 that stay in the memory of the CPU: two are on the device."""
    layers, tokens = (2, 5) if tiny else (4, 64)
    cpu = torch.device("cpu")
    model = subjects.build(subjects.shape("llama-8b", tiny), cpu, layers, torch.bfloat16).model
    explainer, example = Explainer(model, device=str(device), streamed=True), subjects.inputs(tokens)
    measure.start_memory(device)

    def explain() -> object:
        return explainer.explain(example, routes=("z2z",))

    (seconds,) = measure.medians([explain], device, min(repeats, 3))
    row = {"what": f"Llama-8B shape in bfloat16, {layers} layers, streamed, z2z", "tokens": tokens}
    yield row | {"seconds": seconds, "peak": measure.peak_memory(device)}


def why(device: torch.device, repeats: int, tiny: bool) -> Iterator[Row]:
    """A prediction, over one forward and backward of the same model to its inputs."""
    layers, tokens = (2, 5) if tiny else (16, 64)
    explainer = subjects.decoder("llama-1b", device, layers, tiny)
    example = subjects.inputs(tokens)
    measure.start_memory(device)

    def explain() -> Any:
        return explainer.explain_prediction(example, answer=7, reference="mean", edges=())

    points = [segment.points for segment in explain().certificates]
    seconds, once = measure.medians([explain, _pass(explainer, example)], device, repeats)
    row = {"what": f"why, Llama-1B shape, {layers} layers", "tokens": tokens, "seconds": seconds}
    row |= {"times": seconds / once, "nodes": sum(points) / len(points)}
    yield row | {"peak": measure.peak_memory(device)}


def _pass(explainer: Explainer, inputs: dict[str, Tensor]) -> Callable[[], object]:
    model: Any = explainer.whole.now().placement.model
    ids = inputs["input_ids"].to(model.device)
    embedded = model.get_input_embeddings()(ids).detach().requires_grad_()

    def once() -> object:
        logits = model(inputs_embeds=embedded, logits_to_keep=1, use_cache=False).logits
        return torch.autograd.grad(logits[0, -1].log_softmax(-1).max(), embedded)

    return once


def _bert(device: torch.device, layers: int, tiny: bool) -> Explainer:
    return subjects.build(subjects.shape("bert-base", tiny), device, layers)


# ten minutes together
PARTS = {
    "agreement": Part(agreement, 90),
    "sentence": Part(sentence, 60),
    "corpus": Part(corpus, 240),
    "layer": Part(layer, 60),
    "streaming": Part(streaming, 90),
    "why": Part(why, 60),
}


if __name__ == "__main__":
    measure.run(main)
