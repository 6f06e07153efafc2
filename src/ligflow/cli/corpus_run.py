"""`ligflow corpus run`: the consistency experiment on a corpus, and where it stands."""

from pathlib import Path
from typing import Annotated

from ligflow.cli.corpus_engine import (
    Cpus,
    EngineName,
    RayAddress,
    RedoDamaged,
    Workers,
    engine_of,
    refuse_options_of_ray,
)
from ligflow.cli.corpus_options import ALL, Part, SkipBad, Source, corpus_of, with_part
from ligflow.cli.corpus_progress import bar_of, say_end
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
from ligflow.cli.streams import loading
from ligflow.cli.usage_errors import checked, layer_range
from ligflow.extras import need
from ligflow.names import MAX_NODES, TOL, TWINS, UNITS


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
    engine: EngineName = "local",
    workers: Workers = None,
    cpus: Cpus = None,
    ray_address: RayAddress = None,
    batch_size: Annotated[
        int | None,
        option("Sentences that go through a layer together; default: as many as pay.", MACHINES),
    ] = None,
    shard_size: Annotated[int, option("Sentences that are computed and stored together.", MACHINES)] = 32,
    redo_damaged: RedoDamaged = False,
) -> None:
    """Compute every pair of baselines on every sentence. Run it again, and it goes on where it stopped."""
    need("corpus", "ligflow corpus")
    chosen = layer_range("--layers", layers)
    refuse_options_of_ray(engine, cpus, ray_address)
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
    workers_of = checked(engine_of, engine, device, workers, cpus, ray_address)
    with bar_of("sentences") as progress:
        whole = runner.run(
            out, sentences, loaded, experiment, engine=workers_of, twins=others, shard_size=shard_size,
            batch_size=batch_size, redo_damaged=redo_damaged, progress=progress,
        )  # fmt: skip
    say_end(whole, [other.name for other in others])
