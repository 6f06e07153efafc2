"""What the benchmarks share: the machine in words, medians of times, peak memory, tables and JSON."""

import json
import os
import platform
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import transformers
import typer
from rich.console import Console
from rich.table import Table

from ligflow import CompletenessWarning, __version__

HERE = Path(__file__).parent
MATMUL_ROWS = 2048
_BUDGET = 30.0

Row = dict[str, Any]
Columns = Mapping[str, Callable[[Row], str]]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; default: what torch takes.")]
Repeats = Annotated[int, typer.Option(help="Timed runs; their median is reported.")]
Out = Annotated[Path | None, typer.Option(help="JSON file; default: benchmarks/results/NAME.json.")]
Tiny = Annotated[bool, typer.Option("--tiny", help="Shapes of a few numbers: does it run?")]


def run(main: Callable[..., None]) -> None:
    """A benchmark as a program."""
    warnings.simplefilter("ignore", CompletenessWarning)
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()


def place(device: str, threads: int | None = None) -> torch.device:
    """The device, checked; ends the program with a message where it is not there."""
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        have = ", ".join(["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))])
        raise SystemExit(
            f"This benchmark was asked to run on {device!r}, which is not here; there is {have}."
        ) from error
    return found


def machine(device: torch.device) -> Row:
    """What the numbers were measured on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "float32_matmul": torch.get_float32_matmul_precision(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "ligflow": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


# --- time and memory ------------------------------------------------------------------------------


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of one run, to the end of its work on the device."""
    _finish(device)
    begin = time.perf_counter()
    run()
    _finish(device)
    return time.perf_counter() - begin


def medians(
    runs: Sequence[Callable[[], object]], device: torch.device, repeats: int, warm: bool = False
) -> list[float]:
    """Median seconds of each run, all taken in turns, so that they meet the same noise.

    One turn that does not count comes first, unless all is `warm`. No new turn begins once 30 seconds
    are spent; there is at least one.
    """
    for run in () if warm else runs:
        timed(run, device)
    begin = time.perf_counter()
    turns: list[list[float]] = []
    while not turns or (len(turns) < repeats and time.perf_counter() - begin < _BUDGET):
        turns.append([timed(run, device) for run in runs])
    return [statistics.median(times) for times in zip(*turns, strict=True)]


def least(runs: Sequence[Callable[[], object]], repeats: int, warm: bool = False) -> list[float]:
    """The least CPU seconds of each run, in turns; after one that does not count, unless all is `warm`."""
    for run in () if warm else runs:
        run()
    turns = [[cpu_seconds(run) for run in runs] for _ in range(repeats)]
    return [min(spent) for spent in zip(*turns, strict=True)]


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU seconds of the process in one run."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def matmul(device: torch.device, inner: int, outer: int) -> tuple[Callable[[], object], float]:
    """A float32 product [2048, inner] x [inner, outer] and how many operations it takes."""
    left = torch.randn(MATMUL_ROWS, inner, device=device)
    right = torch.randn(inner, outer, device=device)
    return lambda: left @ right, 2.0 * MATMUL_ROWS * inner * outer


def start_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> float:
    """MiB at the highest point: of the device since `start_memory`, of the CPU since the process began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# --- errors ---------------------------------------------------------------------------------------


def completeness(sums: torch.Tensor, totals: torch.Tensor, scales: torch.Tensor) -> Row:
    """Median and largest `|sum - total| / scale` over cells."""
    errors = (sums.double().cpu() - totals).abs() / scales
    return {"median": float(errors.median()), "max": float(errors.max()), "cells": errors.numel()}


# --- what is shown and kept -----------------------------------------------------------------------


def note(text: str) -> None:
    """A line of progress."""
    Console(stderr=True, highlight=False).print(text, style="dim", markup=False, soft_wrap=True)


def report(
    name: str,
    out: Path | None,
    where: Row,
    settings: Row,
    rows: list[Row],
    columns: Columns,
    caption: str = "",
) -> None:
    """Prints the table and writes all rows, with the machine, as JSON."""
    caption = f"{where['processor']}, {where['device']}, {where['threads']} threads. {caption}"
    table = Table(title=name, caption=caption, caption_justify="left", title_justify="left")
    for header in columns:
        table.add_column(header, justify="left" if header in ("what", "route", "baseline") else "right")
    for row in rows:
        table.add_row(*(cell(row) for cell in columns.values()))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table)
    path = out or HERE / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"benchmark": name, "machine": where, "settings": settings, "rows": rows}
    path.write_text(json.dumps(record, indent=1) + "\n")
    console.print(f"written: {path}", soft_wrap=True, markup=False)


def rows_of(name: str, out: Path | None, settings: Row) -> list[Row]:
    """The rows that a benchmark with these settings has written; none where it had others."""
    path = out or HERE / "results" / f"{name}.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    return record["rows"] if record.get("settings") == json.loads(json.dumps(settings)) else []


def text(key: str) -> Callable[[Row], str]:
    return lambda row: str(row.get(key, ""))


def number(key: str, form: str = ".3g") -> Callable[[Row], str]:
    """A cell of the row; empty where there is none."""
    return lambda row: "" if row.get(key) is None else format(row[key], form)


def spread(key: str) -> Callable[[Row], str]:
    """Median / max of an error."""
    return lambda row: f"{row[key]['median']:.1e} / {row[key]['max']:.1e}" if row.get(key) else ""
