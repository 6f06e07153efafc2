"""`ligflow corpus faithfulness`: LIG and its rivals held against what happens when sources are removed."""

from pathlib import Path
from typing import Annotated

from rich.text import Text

from ligflow.cli.corpus_options import ALL, Draws, Part, SkipBad, Source, corpus_of, enough_draws, with_part
from ligflow.cli.options import (
    COMPARED,
    METHOD,
    OUTPUT,
    Device,
    Dtype,
    LocalOnly,
    Model,
    Revision,
    TrustCode,
    explainer_of,
    option,
)
from ligflow.cli.streams import console, counted, loading
from ligflow.cli.usage_errors import checked, layer_range
from ligflow.extras import need


@with_part
def faithfulness(
    source: Source,
    out: Annotated[
        Path, option("Folder of the results; an interrupted trial goes on.", OUTPUT, "--out", "-o")
    ],
    model: Model = None,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    trust_remote_code: TrustCode = False,
    part: Part = ALL,
    seed: Annotated[
        int, option("Seed of what is drawn: the sample, the random control, the shuffle.", METHOD)
    ] = 0,
    skip_bad: SkipBad = False,
    layers: Annotated[
        str | None, option("Layers to try, e.g. 0-3,5 (negative: from the end); default: all.", COMPARED)
    ] = None,
    steps: Annotated[
        int, option("In how many steps sources are removed and put back (deletion, insertion).", COMPARED)
    ] = 10,
    top_k: Annotated[
        int, option("How many sources are removed or kept (comprehensiveness, sufficiency).", COMPARED)
    ] = 3,
    shuffled: Annotated[
        int, option("So many sentences also under shuffled weights, each its own; 0: none.", COMPARED)
    ] = 5,
    pairs: Annotated[int, option("Pairs of orders of removal for each Shapley value.", COMPARED)] = 16,
    draws: Draws = 1000,
) -> None:
    """Remove sources and see: which maps say what happens? Page, tables and a figure."""
    need("corpus", "ligflow corpus")
    chosen = layer_range("--layers", layers)
    enough_draws(draws)
    loading(model)
    from ligflow.corpus.analysis.faithfulness_ranking import standings, verdicts
    from ligflow.corpus.reports.faithfulness_page import verdict, write
    from ligflow.corpus.reports.markdown import in_words
    from ligflow.corpus.runs.faithfulness_trial import described, try_methods
    from ligflow.corpus.tables.faithfulness_rows import Trial
    from ligflow.evaluation.shuffled_weights import with_shuffled_weights as shuffle
    from ligflow.explainer.explainer import Explainer

    trial = checked(Trial, None if chosen is None else tuple(chosen), steps, top_k, seed, shuffled, pairs)
    corpus = corpus_of(source, part, seed, skip_bad)
    sentences = list(corpus.read())
    explainer = explainer_of(
        model, revision, device, dtype, local_files_only, trust_remote_code=trust_remote_code
    )

    def twin(of_seed: int) -> Explainer:
        return Explainer(shuffle(explainer.model, of_seed), explainer.tokenizer, name=explainer.name)

    with counted("sentences") as progress:
        frame = try_methods(out / "sentences", explainer, twin, sentences, trial, progress)
    about = described(frame, trial) + (f" {len(corpus.bad)} malformed lines skipped." if corpus.bad else "")
    decided = verdicts(frame, draws)
    page = write(standings(frame, draws), decided, out, explainer.name, about)
    for line in (about, *in_words(verdict(decided)), f"wrote {page}"):
        console().print(Text(line), soft_wrap=True)
