"""Time and peak memory against tokens, layers, sentences and tolerance; each row in a fresh process.

    python benchmarks/scaling.py [--sweep tokens] [--max-tokens 1024] [--max-sentences 64] [--device cuda]

All three routes. Tokens and layers: random weights of MiniLM's shape. Sentences, tolerance: the real MiniLM.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
import typer

import measure
import subjects
from ligflow import Explainer
from measure import Row, note, number, text

TOKENS = (16, 32, 64, 128, 256, 512, 1024)
LAYERS = (1, 2, 4, 8, 12)
SENTENCES = (1, 4, 16, 64)
TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5)
SHARED = {"att_baseline": "zero", "mlp_baseline": "zero", "layer_baseline": "zero"}
BASELINES: dict[str, Row] = {"itb": {}, "zero": SHARED}
COLUMNS: measure.Columns = {
    "what": text("sweep"),
    "T": number("tokens", "d"),
    "layers": number("layers", "d"),
    "sentences": number("sentences", "d"),
    "tol": number("tol", ".0e"),
    "baseline": text("baseline"),
    "way": text("way"),
    "seconds": number("seconds"),
    "peak MiB": number("peak", ".0f"),
    "MiB before": number("before", ".0f"),
    "mean points z2z": number("nodes", ".1f"),
}


def main(
    sweep: Annotated[
        list[str] | None, typer.Option(help="tokens, layers, sentences, tolerance; repeatable; default: all.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Where the sweep over tokens ends.")] = 256,
    max_sentences: Annotated[int, typer.Option(help="Where the sweep over sentences ends.")] = 16,
    device: measure.Device = "cpu",
    threads: measure.Threads = None,
    repeats: measure.Repeats = 3,
    tiny: measure.Tiny = False,
    out: measure.Out = None,
    job: Annotated[str | None, typer.Option(hidden=True, help="One row, as JSON.")] = None,
) -> None:
    """Measure how ligflow scales."""
    where = measure.place(device, threads)
    if job is not None:
        print(json.dumps(measured(json.loads(job), where)))
        return
    made = sweeps(max_tokens, max_sentences, tiny)
    jobs = [job for name in sweep or made for job in made[name]]
    rows = [in_process(job | {"repeats": repeats, "tiny": tiny}, device, threads) for job in jobs]
    settings = {"repeats": repeats, "tiny": tiny}
    caption = "Peak and before: memory of the whole process; on a GPU, of torch's tensors."
    measure.report("scaling", out, measure.machine(where), settings, rows, COLUMNS, caption)


def sweeps(max_tokens: int, max_sentences: int, tiny: bool) -> dict[str, list[Row]]:
    """The rows to measure, one variable at a time."""
    tokens = [8] if tiny else [count for count in TOKENS if count <= max_tokens]
    layers, tolerances = (some[1:2] if tiny else some for some in (LAYERS, TOLERANCES))
    sentences = [2] if tiny else [count for count in SENTENCES if count <= max_sentences]
    one = {"layers": 1, "sentences": 1, "tol": 1e-3, "baseline": "itb"}
    ways = ["one at a time"] + ["explain_many"] * hasattr(Explainer, "explain_many")
    return {
        "tokens": [one | {"sweep": "tokens", "tokens": t, "baseline": b} for b in BASELINES for t in tokens],
        "layers": [one | {"sweep": "layers", "tokens": 8 if tiny else 32, "layers": n} for n in layers],
        "sentences": [
            one | {"sweep": "sentences", "layers": None, "sentences": n, "way": way}
            for n in sentences
            for way in ways
        ],
        "tolerance": [
            one | {"sweep": "tolerance", "layers": None, "tol": tol, "baseline": b}
            for b in BASELINES
            for tol in tolerances
        ],
    }


def in_process(job: Row, device: str, threads: int | None) -> Row:
    """The row, measured in a process of its own, whose memory is its alone."""
    note(", ".join(f"{name} {value}" for name, value in job.items() if value is not None))
    command = [sys.executable, __file__, "--job", json.dumps(job), "--device", device]
    command += [] if threads is None else ["--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"This row failed: {job}\n{done.stderr}")
    found: Row = job | json.loads(done.stdout.splitlines()[-1])
    note(f"    {found['seconds']:.3g} s, {found['peak']:.0f} MiB")
    return found


# --- one row --------------------------------------------------------------------------------------


def measured(job: Row, device: torch.device) -> Row:
    """Seconds, peak memory and mean points, after a warm-up on something short."""
    explainer, examples = _subject(job, device)
    settings = {"tol": job["tol"], **BASELINES[job["baseline"]]}
    run = _way(job.get("way"), explainer, examples, settings)
    explainer.explain(subjects.WORDS[0], **settings)
    measure.start_memory(device)
    before = measure.peak_memory(device)
    found: list[Any] = []
    (seconds,) = measure.medians([lambda: found.append(run())], device, job["repeats"], warm=True)
    nodes = [float(flow.nodes("z2z").float().mean()) for flow in found[0]]
    tokens = {} if job["sentences"] > 1 else {"tokens": len(found[0][0].tokens)}
    used = {"layers": len(found[0][0].layers), "nodes": sum(nodes) / len(nodes)}
    return {"seconds": seconds, "before": before, "peak": measure.peak_memory(device)} | tokens | used


def _subject(job: Row, device: torch.device) -> tuple[Explainer, list[Any]]:
    if "tokens" in job:
        shape = subjects.shape("minilm", job["tiny"])
        return subjects.build(shape, device, job["layers"]), [subjects.inputs(job["tokens"])]
    if job["tiny"]:
        explainer = subjects.build(subjects.shape("minilm", tiny=True), device)
        return explainer, subjects.sentences(job["sentences"])
    explainer, _ = subjects.minilm(device)
    salads = job["sweep"] == "sentences"
    return explainer, subjects.sentences(job["sentences"]) if salads else [subjects.SENTENCE]


def _way(
    way: str | None, explainer: Explainer, examples: Sequence[Any], settings: Row
) -> Callable[[], list[Any]]:
    """All examples, together or one at a time."""
    if way != "explain_many":
        return lambda: [explainer.explain(example, **settings) for example in examples]
    together: Any = getattr(explainer, way)
    return lambda: list(together(list(examples), **settings))


if __name__ == "__main__":
    measure.run(main)
