"""`ligflow compare`: which layers and heads of two models route differently."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ligflow.corpus.source_options import (
    ALL,
    Draws,
    Part,
    SkipBad,
    SourceOption,
    corpus_of,
    with_part,
)
from ligflow.extras import need
from ligflow.usage import (
    Device,
    Dtype,
    LocalOnly,
    Usage,
    console,
    counted,
    enough_draws,
    explainer_of,
    layer_range,
)  # fmt: skip


@with_part
def compare_models(
    a: Annotated[str, typer.Argument(help="Hub id, folder or embedded model.")],
    b: Annotated[str, typer.Argument(help="The other model.")],
    corpus: SourceOption = "embedded:sentences",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path("compare"),
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    part: Part = ALL,
    seed: Annotated[int, typer.Option(help="Of the sample and the bootstrap.")] = 0,
    skip_bad: SkipBad = False,
    layers: Annotated[str | None, typer.Option(help="Layers to compare, e.g. 0-3,5; default: all.")] = None,
    own_inputs: Annotated[
        bool, typer.Option("--own-inputs", help="Each model by itself, not B's layers on A's hidden states.")
    ] = False,
    words: Annotated[
        bool, typer.Option("--words", help="Compare over words; for models of different tokenizers.")
    ] = False,
    margin: Annotated[
        float, typer.Option(help="What stands out is over this many times the median of the others.")
    ] = 2.0,
    draws: Draws = 1000,
) -> None:
    """Which layers and heads of two models route differently? Page, tables and a figure."""
    need("corpus", "ligflow compare")
    from ligflow.corpus.compare_page import verdict, write
    from ligflow.corpus.differences import described, pair, summed
    from ligflow.corpus.markdown import in_words

    enough_draws(draws)
    if margin < 1:
        raise Usage(f"--margin is {margin}; what stands out is over the others, so give 1 or more.")
    chosen = layer_range("--layers", layers)
    source = corpus_of(corpus, part, seed, skip_bad)
    sentences = list(source.read())
    first, other = (explainer_of(name, None, device, dtype, local_files_only) for name in (a, b))
    shared, pairs = not (own_inputs or words), []
    with counted("sentences") as told:
        for one in sentences:
            pairs.append(pair(first, other, one, chosen, shared, words))
            told(len(pairs), len(sentences))
    about = described(pairs, shared, words)
    found = summed(pairs, margin, draws, seed)
    page = write(found, out, f"{first.name} and {other.name}", about)
    for line in (about, *in_words(verdict(found).split("\n")), f"wrote {page}"):
        console().print(Text(line), soft_wrap=True)
