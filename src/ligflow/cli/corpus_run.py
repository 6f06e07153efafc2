"""`ligflow corpus run`: the consistency experiment on a corpus, and where it stands."""

import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ligflow.cli.corpus_options import ALL, Part, SkipBad, Source, corpus_of, with_part
from ligflow.cli.options import (
    COMPARED,
    MACHINES,
    METHOD,
    OUTPUT,
    Device,
    Dtype,
    LocalOnly,
    MaxNodes,
    Model,
    Precision,
    Quadrature,
    Revision,
    Scalarization,
    Tolerance,
    TrustCode,
    choice,
    option,
)
from ligflow.cli.streams import console, errors, loading
from ligflow.cli.usage_errors import Usage, checked, layer_range
from ligflow.errors import LigflowError
from ligflow.extras import need
from ligflow.names import ENGINES, MAX_NODES, TOL, TWINS, UNITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ligflow.corpus.runs.engines import Engine
    from ligflow.corpus.runs.progress import OnProgress
    from ligflow.corpus.runs.store import Run

_STOPPED = 130  # the exit code of a command that Ctrl-C ended


@with_part
def run_corpus(
    source: Source,
    out: Annotated[Path, option("The run's folder; an interrupted run goes on.", OUTPUT, "--out", "-o")],
    model: Model = None,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    trust_remote_code: TrustCode = False,
    part: Part = ALL,
    seed: Annotated[
        int, option("Seed of what is drawn: the sample, the controls, the first twin.", METHOD)
    ] = 0,
    skip_bad: SkipBad = False,
    layers: Annotated[
        str | None, option("Layers to explain, e.g. 0-3,5 (negative: from the end); default: all.", COMPARED)
    ] = None,
    unit: Annotated[
        list[str] | None, choice("--unit", UNITS, "What is compared, repeatable, default token", COMPARED)
    ] = None,
    hide_special: Annotated[
        bool, option("Leave special tokens out of the comparisons.", COMPARED, "--hide-special")
    ] = False,
    top_k: Annotated[int, option("The k of the top-k overlap.", COMPARED)] = 3,
    scalarization: Scalarization = "l2",
    quadrature: Quadrature = "adaptive",
    tol: Tolerance = TOL,
    max_nodes: MaxNodes = MAX_NODES,
    precision: Precision = "float32",
    maps: Annotated[bool, option("Keep all maps too (safetensors).", OUTPUT, "--maps")] = False,
    twin: Annotated[
        list[str] | None,
        choice("--twin", TWINS, "Then the same on a copy with other weights, repeatable", COMPARED),
    ] = None,
    twin_seeds: Annotated[int, option("How many copies of each kind.", COMPARED)] = 1,
    engine: Annotated[
        str, choice("--engine", ENGINES, "Processes of this machine, or actors of Ray", MACHINES)
    ] = "local",
    workers: Annotated[
        int | None,
        option("How many processes or actors; default: one a device (ray: as many as fit).", MACHINES),
    ] = None,
    cpus: Annotated[int | None, option("Cores of each Ray actor; default: 1.", MACHINES)] = None,
    ray_address: Annotated[str | None, option("The Ray cluster; default: one here.", MACHINES)] = None,
    batch_size: Annotated[
        int | None,
        option("Sentences that go through a layer together; default: as many as pay.", MACHINES),
    ] = None,
    shard_size: Annotated[int, option("Sentences that are computed and stored together.", MACHINES)] = 32,
    redo_damaged: Annotated[
        bool, option("Check every finished shard, and redo damaged ones.", MACHINES, "--redo-damaged")
    ] = False,
) -> None:
    """Compute every pair of baselines on every sentence. Run it again, and it goes on where it stopped."""
    need("corpus", "ligflow corpus")
    chosen = layer_range("--layers", layers)
    _refuse_options_of_ray(engine, cpus, ray_address)
    loading(model)
    from ligflow.corpus.runs import runner, twins, worker
    from ligflow.corpus.tables.experiment import Experiment

    experiment = checked(
        Experiment, None if chosen is None else tuple(chosen), tuple(unit or ["token"]), hide_special, top_k,
        seed, maps, scalarization, quadrature, tol, max_nodes, precision,
    )  # fmt: skip
    loaded = worker.Model(model, revision, dtype, local_files_only, trust_remote_code=trust_remote_code)
    sentences = corpus_of(source, part, seed, skip_bad)
    others = checked(twins.twins, tuple(twin or ()), twin_seeds, seed)
    workers_of = checked(_engine, engine, device, workers, cpus, ray_address)
    with _bar() as progress:
        whole = runner.run(
            out, sentences, loaded, experiment, engine=workers_of, twins=others, shard_size=shard_size,
            batch_size=batch_size, redo_damaged=redo_damaged, progress=progress,
        )  # fmt: skip
    _say(whole, [other.name for other in others])


def _refuse_options_of_ray(engine: str, cpus: int | None, ray_address: str | None) -> None:
    for name, value in {"--ray-address": ray_address, "--cpus": cpus}.items():
        if value is not None and engine != "ray":
            raise Usage(f"{name} is for --engine ray.")


def _engine(
    name: str, device: str | None, workers: int | None, cpus: int | None, ray_address: str | None
) -> "Engine":
    from ligflow.corpus.runs.engines import here, processes
    from ligflow.corpus.runs.ray_engine import actors

    if name == "ray":
        if device is not None and "," in device:
            raise LigflowError(f"--device {device!r} is for --engine local; with ray each actor takes a GPU.")
        return actors(device, workers, ray_address, 1 if cpus is None else cpus)
    devices = device.split(",") if device else [None]
    count = len(devices) if workers is None else workers
    return here(devices[0]) if count == 1 else processes(devices, count)


@contextmanager
def _bar() -> "Iterator[OnProgress]":
    """A bar of sentences on a terminal, with rate and time left, else lines in a log; notes go to both."""
    screen = errors()
    if not screen.is_terminal:
        yield _in_lines(screen)
        return
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TextColumn("sentences"), TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=screen, transient=True) as bar:
        tasks: dict[str, Any] = {}
        since: dict[str, tuple[float, int]] = {}

        def show(state: Any) -> None:
            if state.part not in tasks:
                tasks[state.part] = bar.add_task(state.part, total=None, rate="")
            if state.of_sentences:
                since.setdefault(state.part, (time.monotonic(), state.sentences))
            began, before = since.get(state.part, (0.0, 0))
            minutes = (time.monotonic() - began) / 60
            rate = f"{(state.sentences - before) / minutes:.0f} a minute" if state.sentences > before else ""
            bar.update(
                tasks[state.part], description=f"{state.part}: {state.doing}", completed=state.sentences,
                total=state.of_sentences or None, rate=rate,
            )  # fmt: skip
            if state.note:
                screen.print(Text(state.note))

        yield show


def _in_lines(screen: Console) -> "OnProgress":
    from ligflow.progress import Lines

    parts: dict[str, Lines] = {}

    def show(state: Any) -> None:
        if state.of_sentences and state.part not in parts:  # a run may go on from where it stood
            said = partial(_say_of, screen, state.part)
            parts[state.part] = Lines("sentences", said, state.sentences)
        if state.part in parts:
            parts[state.part](state.sentences, state.of_sentences)
        if state.note:
            screen.print(Text(state.note))

    return show


def _say_of(screen: Console, part: str, line: str) -> None:
    screen.print(Text(f"{part}: {line}"))


def _say(whole: "Run", twins: list[str]) -> None:
    """What was done, and what to do next."""
    begun = {run.folder.name: run for of_kind in whole.twins.values() for run in of_kind}
    for each in (whole, *(begun[name] for name in twins if name in begun)):
        if each.missing:
            done = len(each.done)
            errors().print(
                Text(f"Stopped: {done} of {each.shards} shards of {each.folder} are done, and safe. "
                     "Run the same command again to go on.")
            )  # fmt: skip
            raise typer.Exit(_STOPPED)
    if not begun.keys() >= {*twins}:
        raise typer.Exit(_STOPPED)
    left_out = sum(whole.left_out(shard) for shard in range(whole.shards))
    bad = whole.manifest["corpus"]["bad_lines"]
    count = int(whole.manifest["sentences"])
    words = [f"{count - left_out} of {count} sentences explained"]
    words += [f"{left_out} left out (the report says why)"] if left_out else []
    words += [f"{bad} malformed lines skipped"] if bad else []
    console().print(Text(f"{', '.join(words)}: {whole.folder}"), soft_wrap=True)
    console().print(Text(f"Next: ligflow corpus report {whole.folder}"), soft_wrap=True)
