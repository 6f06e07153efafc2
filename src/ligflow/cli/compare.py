"""`ligflow compare`: which layers and heads of two models route differently."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ligflow.cli.corpus_options import (
    ALL,
    Draws,
    Part,
    SkipBad,
    SourceOption,
    corpus_of,
    enough_draws,
    with_part,
)
from ligflow.cli.options import (
    COMPARED,
    METHOD,
    OUTPUT,
    Device,
    Dtype,
    LocalOnly,
    TrustCode,
    explainer_of,
    option,
)
from ligflow.cli.streams import console, counted, loading
from ligflow.cli.usage_errors import Usage, layer_range
from ligflow.extras import need


@with_part
def compare_models(
    a: Annotated[str, typer.Argument(help="Hub id, folder, embedded model or MODEL+ADAPTER.")],
    b: Annotated[str, typer.Argument(help="The other model.")],
    corpus: SourceOption = "embedded:sentences",
    out: Annotated[Path, option("Folder of the results.", OUTPUT, "--out", "-o")] = Path("compare"),
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    trust_remote_code: TrustCode = False,
    part: Part = ALL,
    seed: Annotated[int, option("Seed of what is drawn: the sample, the intervals.", METHOD)] = 0,
    skip_bad: SkipBad = False,
    layers: Annotated[
        str | None, option("Layers to compare, e.g. 0-3,5 (negative: from the end); default: all.", COMPARED)
    ] = None,
    own_inputs: Annotated[
        bool, option("Each model by itself, not B's layers on A's hidden states.", COMPARED, "--own-inputs")
    ] = False,
    words: Annotated[
        bool, option("Compare over words; for models of different tokenizers.", COMPARED, "--words")
    ] = False,
    margin: Annotated[
        float, option("What stands out is over this many times the median of the others.", COMPARED)
    ] = 2.0,
    draws: Draws = 1000,
) -> None:
    """Which layers and heads of two models route differently? Page, tables and a figure."""
    need("corpus", "ligflow compare")
    enough_draws(draws)
    if margin < 1:
        raise Usage(f"--margin is {margin}; what stands out is over the others, so give 1 or more.")
    chosen = layer_range("--layers", layers)
    loading(a)
    from ligflow.corpus.analysis.model_differences import described, pair, summed
    from ligflow.corpus.reports.comparison_page import verdict, write
    from ligflow.corpus.reports.markdown import in_words

    source = corpus_of(corpus, part, seed, skip_bad)
    sentences = list(source.read())
    first, other = (
        explainer_of(name, None, device, dtype, local_files_only, trust_remote_code=trust_remote_code)
        for name in (a, b)
    )
    shared, pairs = not (own_inputs or words), []
    with counted("sentences") as progress:
        for sentence in sentences:
            pairs.append(pair(first, other, sentence, chosen, shared, words))
            progress(len(pairs), len(sentences))
    about = described(pairs, shared, words)
    differences = summed(pairs, margin, draws, seed)
    changes = [change for each in pairs for change in each.words]
    page = write(differences, out, f"{first.name} and {other.name}", about, changes)
    for line in (about, *in_words(verdict(differences).split("\n")), f"wrote {page}"):
        console().print(Text(line), soft_wrap=True)
