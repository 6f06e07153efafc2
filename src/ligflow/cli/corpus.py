"""`ligflow corpus`: its commands, and those that report on a finished run."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ligflow.cli.corpus_options import Draws, enough_draws
from ligflow.cli.corpus_run import run_corpus
from ligflow.cli.faithfulness import faithfulness
from ligflow.cli.options import COMPARED, METHOD, OUTPUT, AttBaseline, option
from ligflow.cli.streams import console
from ligflow.extras import need

Seed = Annotated[int, option("Seed of the sentences that are drawn for the intervals.", METHOD)]

corpus = typer.Typer(
    help="Many sentences: run the consistency experiment on a corpus, and report on it.", no_args_is_help=True
)
corpus.command("run")(run_corpus)


@corpus.command("report")
def report_corpus(
    folder: Annotated[Path, typer.Argument(help="A run's folder.")],
    out: Annotated[Path | None, option("Default: report in the run's folder.", OUTPUT, "--out", "-o")] = None,
    twin: Annotated[
        Path | None, option("A run on random weights; default: the one in the run's folder.", COMPARED)
    ] = None,
    draws: Draws = 1000,
    seed: Seed = 0,
) -> None:
    """Rank the pairs under every metric, with intervals and controls, in words, tables and figures."""
    need("corpus", "ligflow corpus")
    from ligflow.corpus.reports.report import reported

    page, words = reported(folder, out, draws, seed, twin)
    for line in (*words, f"wrote {page}"):
        console().print(Text(line), soft_wrap=True)


@corpus.command("heads")
def profile_heads(
    folder: Annotated[Path, typer.Argument(help="The folder of a run with --maps.")],
    out: Annotated[Path | None, option("Default: heads in the run's folder.", OUTPUT, "--out", "-o")] = None,
    att_baseline: AttBaseline = "target",
    draws: Draws = 1000,
    seed: Seed = 0,
) -> None:
    """Profile every head: what it routes to, with intervals, beside chance; needs a run with --maps."""
    need("corpus", "ligflow corpus")
    from ligflow.corpus.reports.head_page import profiled

    page, words = profiled(folder, out, att_baseline, enough_draws(draws), seed)
    for line in (*words, f"wrote {page}"):
        console().print(Text(line), soft_wrap=True)


corpus.command("faithfulness")(faithfulness)
