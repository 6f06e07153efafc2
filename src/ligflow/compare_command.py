"""`ligflow compare`: which layers and heads of two models route differently."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ligflow.corpus.source_options import (
    Column,
    End,
    Format,
    Sample,
    SkipBad,
    Split,
    Start,
    Subset,
    corpus_of,
    need_extra,
)  # fmt: skip
from ligflow.usage import (
    Device,
    Dtype,
    LocalOnly,
    Usage,
    console,
    counted,
    enough_draws,
    explainer_of,
    numbers,
)  # fmt: skip


def compare_models(
    a: Annotated[str, typer.Argument(help="Hub id, folder or embedded model.")],
    b: Annotated[str, typer.Argument(help="The other model.")],
    corpus: Annotated[
        str, typer.Option(help="A file, hf:NAME for a dataset of the hub, or embedded:sentences.")
    ] = "embedded:sentences",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path("compare"),
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    format_: Format = None,
    column: Column = None,
    split: Split = None,
    subset: Subset = None,
    start: Start = 0,
    end: End = None,
    sample: Sample = None,
    seed: Annotated[int, typer.Option(help="Of the sample and the bootstrap.")] = 0,
    skip_bad: SkipBad = False,
    layers: Annotated[str | None, typer.Option(help="Layers to compare, e.g. 0,3; default: all.")] = None,
    own_inputs: Annotated[
        bool, typer.Option("--own-inputs", help="Each model by itself, not B's layers on A's hidden states.")
    ] = False,
    words: Annotated[
        bool, typer.Option("--words", help="Compare over words; for models of different tokenizers.")
    ] = False,
    margin: Annotated[
        float, typer.Option(help="What stands out is over this many times the median of the others.")
    ] = 2.0,
    draws: Annotated[int, typer.Option(help="Draws of the bootstrap over sentences.")] = 1000,
) -> None:
    """Which layers and heads of two models route differently? Page, tables and a figure."""
    need_extra()
    from ligflow.corpus.compare_page import write
    from ligflow.corpus.differences import described, pair, summed

    enough_draws(draws)
    if margin < 1:
        raise Usage(f"--margin is {margin}; what stands out is over the others, so give 1 or more.")
    chosen = numbers("--layers", layers)
    source = corpus_of(corpus, format_, column, split, subset, start, end, sample, seed, skip_bad)
    sentences = list(source.read())
    first, other = (explainer_of(name, None, device, dtype, local_files_only) for name in (a, b))
    shared, pairs = not (own_inputs or words), []
    with counted("sentences") as told:
        for one in sentences:
            pairs.append(pair(first, other, one, chosen, shared, words))
            told(len(pairs), len(sentences))
    about = described(pairs, shared, words)
    page = write(summed(pairs, margin, draws, seed), out, f"{first.name} and {other.name}", about)
    console().print(Text(f"wrote {page}"), soft_wrap=True)
