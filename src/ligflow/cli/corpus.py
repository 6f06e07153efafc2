"""`ligflow corpus`: its commands, and those that report on a finished run."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ligflow.cli.corpus_options import Draws, enough_draws
from ligflow.cli.corpus_predictions import explain_prompts
from ligflow.cli.corpus_run import run_corpus
from ligflow.cli.faithfulness import faithfulness
from ligflow.cli.options import COMPARED, METHOD, OUTPUT, AttBaseline, choice, option
from ligflow.cli.streams import console
from ligflow.cli.usage_errors import Usage
from ligflow.extras import need

Seed = Annotated[int, option("Seed of the sentences that are drawn for the intervals.", METHOD)]

_PIECES = {"mean": "mean", "sum": "sum"}

corpus = typer.Typer(
    help="Many sentences or prompts: run the consistency experiment or explain predictions, and report.",
    no_args_is_help=True,
)
corpus.command("run")(run_corpus)
corpus.command("predictions")(explain_prompts)


@corpus.command("report")
def report_corpus(
    folder: Annotated[Path, typer.Argument(help="A run's folder.")],
    out: Annotated[Path | None, option("Default: report in the run's folder.", OUTPUT, "--out", "-o")] = None,
    twin: Annotated[
        Path | None, option("A run on random weights; default: the one in the run's folder.", COMPARED)
    ] = None,
    pages: Annotated[
        int, option("Of a run on prompts: so many of those at the ends as pages; loads the model.", OUTPUT)
    ] = 0,
    draws: Draws = 1000,
    seed: Seed = 0,
) -> None:
    """Say what came out of a run, with intervals and controls, in words, tables and figures.

    Of sentences: which pairs of baselines agree best. Of prompts: which heads and layers carry them.
    """
    if pages < 0:
        raise Usage(f"--pages is {pages}; give a whole number from 0.")
    need("corpus", "ligflow corpus")
    from ligflow.corpus.reports.report import reported

    page, words = reported(folder, out, draws, seed, twin, pages)
    for line in (*words, f"wrote {page}"):
        console().print(Text(line), soft_wrap=True)


@corpus.command("heads")
def profile_heads(
    folder: Annotated[Path, typer.Argument(help="The folder of a run with --maps.")],
    out: Annotated[Path | None, option("Default: heads in the run's folder.", OUTPUT, "--out", "-o")] = None,
    att_baseline: AttBaseline = "target",
    punctuation: Annotated[
        bool, option("Let words that are punctuation be chosen, and ask about them too.", METHOD)
    ] = False,
    pieces: Annotated[
        str, choice("--pieces", _PIECES, "What a word of several pieces has of a row", METHOD)
    ] = "mean",
    draws: Draws = 1000,
    seed: Seed = 0,
) -> None:
    """Profile every head: where it routes, which syntactic relations it finds; needs a run with --maps."""
    need("corpus", "ligflow corpus")
    from ligflow.corpus.analysis.head_relations import Choice
    from ligflow.corpus.reports.head_page import profiled

    rule = Choice(punctuation, pieces)
    page, words = profiled(folder, out, att_baseline, enough_draws(draws), seed, rule)
    for line in (*words, f"wrote {page}"):
        console().print(Text(line), soft_wrap=True)


corpus.command("faithfulness")(faithfulness)
