"""A run: planned once, and continued until every shard is there, whatever interrupts it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from ligflow.corpus.runs.engines import Engine, Workers, here
from ligflow.corpus.runs.folders import locked, make_folder
from ligflow.corpus.runs.interrupt import Interrupt
from ligflow.corpus.runs.plan import Plan, begun, planned
from ligflow.corpus.runs.progress import LOADING, READING, Meter, OnProgress
from ligflow.corpus.runs.store import Run
from ligflow.corpus.runs.twins import Twin
from ligflow.corpus.runs.watch import Watch
from ligflow.corpus.runs.worker import Model, Outcome, Task
from ligflow.corpus.sources.corpus import Corpus
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.experiment import Experiment
from ligflow.corpus.tables.kinds import PREDICTIONS
from ligflow.corpus.tables.prompt_settings import PromptSettings
from ligflow.errors import LigflowError


def run(
    folder: str | Path,
    corpus: Corpus[Any],
    model: Model | None = None,
    experiment: Experiment | PromptSettings | None = None,
    *,
    engine: Engine | None = None,
    twins: Sequence[Twin] = (),
    shard_size: int = 32,
    batch_size: int | None = None,
    redo_damaged: bool = False,
    progress: OnProgress | None = None,
) -> Run:
    """Computes what is missing of a run in `folder`, which is made if it is not there.

    With an `Experiment` (the default) sentences are compared under all baselines; with `PromptSettings` the
    corpus holds prompts, and what the model says to each is taken apart.

    `engine` computes the shards of `shard_size` sentences (by default this process); `batch_size`
    sentences go through a layer together. The same is then done for each of `twins`, copies of the model
    that have learnt nothing, in folders of `folder/twins`. `progress` hears where it stands whenever that
    changes. Ctrl-C lets the shards at work finish: `missing` of the result then says what is left, and the
    same call goes on with it. A second one raises KeyboardInterrupt, and leaves nothing that is half written.

    Raises LigflowError if the folder belongs to a run with other settings (and shows the difference), if
    another run is at work in it, if a finished shard is damaged (unless `redo_damaged`), and for what is
    wrong with corpus, settings or model.
    """
    _check_size("shard_size", shard_size)
    _check_size("batch_size", 1 if batch_size is None else batch_size)
    experiment = experiment or Experiment()
    model = replace(model or Model(), head=experiment.kind == PREDICTIONS)
    if model.head and (twins or model.twin):
        raise LigflowError(
            "A twin is a copy without the model's head, which predicts nothing; leave twins out."
        )
    work = Plan(corpus, model, experiment, shard_size, batch_size)
    folder, engine = Path(folder), engine or here()
    make_folder(folder)
    with ExitStack() as stack:
        stack.enter_context(locked(folder))
        interrupt = stack.enter_context(Interrupt())
        whole = _carry_on(folder, work, engine, interrupt, redo_damaged, Meter("model", progress))
        for twin in twins:
            if interrupt.asked():
                break
            other, place = _twin_of(whole, work, twin), folder / "twins" / twin.name
            _carry_on(place, other, engine, interrupt, redo_damaged, Meter(twin.name, progress))
        return whole


def _check_size(name: str, size: int) -> None:
    if size < 1:
        raise LigflowError(f"{name} is {size}; give a whole number from 1.")


def _twin_of(whole: Run, work: Plan, twin: Twin) -> Plan:
    """The same sentences, as they were planned, on a copy that has learnt nothing."""

    def read() -> Iterator[Sentence]:
        for shard in range(whole.shards):
            yield from whole.sentences(shard)

    corpus = Corpus(read, work.corpus.about)
    return replace(work, corpus=corpus, model=replace(work.model, twin=twin))


def _carry_on(
    folder: Path,
    work: Plan,
    engine: Engine,
    interrupt: Interrupt,
    redo_damaged: bool,
    meter: Meter,
) -> Run:
    """Plans the run or recognises it, then computes what is missing."""
    interrupt.answer = meter.answer
    watch = Watch(interrupt.asked, meter.ticked, meter.lost, lambda what: meter.say(note=f"waits for {what}"))
    meter.say(READING)
    manifest = planned(folder, work)
    meter.say(LOADING)
    with ExitStack() as stack:
        workers = stack.enter_context(engine(work.model, watch))
        run = begun(folder, manifest, workers)
        _check_shards(run, redo_damaged)
        run.tidy()
        stack.push(lambda *_: run.tidy())  # when workers have ended, however
        _compute(run, work, workers, meter)
    return run


def _check_shards(run: Run, redo_damaged: bool) -> None:
    """Raises LigflowError that names a damaged shard; with `redo_damaged` it is removed instead."""
    for shard in run.done:
        damage = run.damage(shard, thorough=redo_damaged)
        if damage and not redo_damaged:
            raise LigflowError(
                f"Shard {shard} of {str(run.folder)!r} is damaged: {damage}. Compute it again with "
                "--redo-damaged (redo_damaged=True)."
            )
        if damage:
            run.log(f"shard {shard} is damaged ({damage}) and computed again")
            run.remove(shard)


def _compute(run: Run, work: Plan, workers: Workers, meter: Meter) -> None:
    missing = run.missing
    run.log(f"{len(missing)} of {run.shards} shards to compute")
    meter.begin(run)
    task = Task(str(run.folder.absolute()), work.experiment, work.batch_size)
    for outcome in workers.shards(task, missing):
        _check_there(run, outcome)
        run.log(
            f"shard {outcome.shard}: {outcome.explained} {run.kind.items} explained, "
            f"{outcome.left_out} left out, {outcome.seconds:.1f} s"
        )
        meter.finished(outcome.shard)
    run.log(f"stopped, {len(run.missing)} shards are missing" if run.missing else "complete")


def _check_there(run: Run, outcome: Outcome) -> None:
    if not run.place(outcome.shard).is_dir():
        raise LigflowError(
            f"Shard {outcome.shard} is not in {str(run.folder)!r}: its worker wrote to a disk of its own. "
            "Put the run's folder on storage that all workers share."
        )
