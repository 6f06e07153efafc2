"""ligflow against the published package: seconds and completeness errors of one layer, `itb`.

    python benchmarks/published.py [--layer 0] [--targets 4 | --full]

The published package gets its own environment in benchmarks/.envs, made on the first run.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer

import measure
import one_layer
import subjects
from measure import HERE, Row, note, number, spread, text
from one_layer import OneLayer

ENVIRONMENT = HERE / ".envs" / "published"
REQUIREMENTS = HERE / "published-requirements.txt"
CONSTRAINTS = HERE.parent / "constraints.txt"
COLUMNS: measure.Columns = {
    "what": text("what"),
    "published s": number("published_seconds", ".1f"),
    "ligflow s": number("ligflow_seconds"),
    "route alone s": number("ligflow_route_seconds"),
    "times faster": number("faster", ".0f"),
    "published error, median / max": spread("published_error"),
    "ligflow error, median / max": spread("ligflow_error"),
    "errors' ratio, max": number("error_ratio", ".0f"),
}


def main(
    layer: Annotated[int, typer.Option(help="The layer of MiniLM.")] = 0,
    targets: Annotated[int, typer.Option(help="Targets of the published z2u; the rest is extrapolated.")] = 4,
    full: Annotated[bool, typer.Option("--full", help="All targets: minutes.")] = False,
    threads: Annotated[int, typer.Option(help="CPU threads of both.")] = 2,
    repeats: measure.Repeats = 3,
    out: measure.Out = None,
) -> None:
    """Compare with the published package, on the embedded MiniLM and one sentence."""
    device = measure.place("cpu", threads)
    prepare()
    explainer, _ = subjects.minilm(device)
    alone = one_layer.record(explainer, subjects.SENTENCE, layer)
    count = len(alone.tokens)
    some = torch.linspace(0, count - 1, count if full else min(targets, count)).long().tolist()
    job = {
        "model": explainer.model.name_or_path,
        "text": subjects.SENTENCE,
        "layer": layer,
        "threads": threads,
    }
    rows = []
    for route, compiled in (("z2z", True), ("z2u", True), ("z2u", False)):
        ours = alone.measured(subjects.SENTENCE, route, repeats)
        note(f"published {route}{'' if compiled else ', its compiler off'} ...")
        theirs = work(job | {"route": route, "targets": some, "repeats": repeats}, compiled)
        rows.append(compare(alone, route, compiled, ours, theirs, some))
    where = measure.machine(device) | {"published_torch": theirs["torch"]}
    settings = {
        "layer": layer,
        "tokens": count,
        "repeats": repeats,
        "targets": some,
        "steps": 32,
        "tol": 1e-3,
    }
    measure.report("published", out, where, settings, rows, COLUMNS, caption(rows))


def compare(
    alone: OneLayer, route: str, compiled: bool, ours: Row, theirs: Row, targets: Sequence[int]
) -> Row:
    sums, (totals, scales) = torch.tensor(theirs["sums"]), alone.ends(route)
    if route == "z2u":
        totals, scales = totals[targets], scales[targets]
    seconds, what = all_targets(theirs["seconds"], route, len(alone.tokens))
    what = what if compiled else f"{what}, its compiler off"
    error = measure.completeness(sums, totals, scales)
    row = {"what": what, "route": route, "published_seconds": seconds, **ours, "published_error": error}
    row["published_times"] = theirs["seconds"]
    row["faster"] = seconds / ours["ligflow_seconds"]
    row["error_ratio"] = error["max"] / ours["ligflow_error"]["max"]
    if "own_totals" in theirs:
        own = torch.tensor(theirs["own_totals"], dtype=torch.float64)
        row["published_error_by_its_own_totals"] = measure.completeness(sums, own, own.maximum(scales))
    return row


def all_targets(times: Sequence[float], route: str, tokens: int) -> tuple[float, str]:
    """Seconds of all targets. The first one of z2u carries what is done once."""
    if route == "z2z":
        return statistics.median(times), "z2z"
    if len(times) == tokens:
        return sum(times), "z2u"
    rest = statistics.median(times[1:] or times)
    return times[0] + (tokens - 1) * rest, f"z2u (extrapolated from {len(times)} targets)"


def caption(rows: list[Row]) -> str:
    own = next(row["published_error_by_its_own_totals"] for row in rows if row["route"] == "z2u")
    return (
        "ligflow s: the whole explain call, the model's run and its checks included. Errors are relative to "
        "the layer's own totals. The published z2u integrates another function than the layer's attention "
        f"(it embeds its input again); relative to that one's totals its error is {own['median']:.1e} / "
        f"{own['max']:.1e}."
    )


# --- the published package ------------------------------------------------------------------------


def prepare() -> None:
    """Its environment, made anew where the requirements have changed."""
    mark = ENVIRONMENT / "requirements.txt"
    if mark.exists() and mark.read_text() == REQUIREMENTS.read_text():
        return
    note(f"installing the published package in {ENVIRONMENT} ...")
    subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
    pip = [str(_python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", str(CONSTRAINTS), "torch", "-r", str(REQUIREMENTS)], check=True)
    mark.write_text(REQUIREMENTS.read_text())


def work(job: Row, compiled: bool) -> Row:
    """The worker's answer. Its compiler starts with an empty cache."""
    with tempfile.TemporaryDirectory() as scratch:
        paths = [Path(scratch) / "job.json", Path(scratch) / "result.json"]
        paths[0].write_text(json.dumps(job))
        told = {"OMP_NUM_THREADS": str(job["threads"]), "HF_HUB_OFFLINE": "1"}
        told |= {"TORCHINDUCTOR_CACHE_DIR": scratch, "PTB_USE_TORCH_COMPILE": str(compiled).lower()}
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [_python(), HERE / "published_worker.py", *paths]
        done = subprocess.run(command, env=kept | told, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"The published package failed:\n{done.stderr}")
        return json.loads(paths[1].read_text())


def _python() -> Path:
    return ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin") / "python"


if __name__ == "__main__":
    measure.run(main)
