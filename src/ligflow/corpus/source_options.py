"""The options that name a corpus, and which of its sentences."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ligflow.errors import LigflowError

if TYPE_CHECKING:
    from ligflow.corpus.runner import Corpus

Source = Annotated[
    str, typer.Argument(help="A file, hf:NAME for a dataset of the hub, or embedded:sentences.")
]
Format = Annotated[
    str | None,
    typer.Option("--format", help="text, conllu, ptb, jsonl, csv, parquet; default: by the file's name."),
]
Column = Annotated[str | None, typer.Option(help="The column that holds the sentences.")]
Split = Annotated[str | None, typer.Option(help="Split of a dataset; default: train.")]
Subset = Annotated[str | None, typer.Option(help="Configuration of a dataset.")]
Start = Annotated[int, typer.Option(help="The first sentence, counted from 0.")]
End = Annotated[int | None, typer.Option(help="The sentence to stop before.")]
Sample = Annotated[int | None, typer.Option(help="Draw this many of them at random.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave malformed lines out, and list them.")]


def need_extra() -> None:
    """Raises LigflowError, with what to install, where the extra `corpus` is missing."""
    for name in ("pyarrow", "pandas", "conllu", "filelock", "matplotlib"):
        try:
            __import__(name)
        except ImportError as error:
            raise LigflowError(f"ligflow corpus needs {name}: pip install 'ligflow[corpus]'.") from error


def corpus_of(
    source: str,
    format_: str | None = None,
    column: str | None = None,
    split: str | None = None,
    subset: str | None = None,
    start: int = 0,
    end: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
) -> "Corpus":
    """The corpus that the options name."""
    from ligflow.corpus.readers import read
    from ligflow.corpus.runner import Corpus
    from ligflow.corpus.selection import select, sentences_of
    from ligflow.corpus.sentence import BadLine, Sentence

    bad: list[BadLine] = []

    def sentences() -> Iterator[Sentence]:
        bad.clear()
        items = read(source, format=format_, column=column, split=split, subset=subset)
        return sentences_of(select(items, start, end, sample, seed), skip_bad, bad.append)

    path = Path(source)
    name = str(path.resolve()) if path.exists() else source
    about = {
        "source": name, "format": format_, "column": column, "split": split, "subset": subset,
        "start": start, "end": end, "sample": sample, "seed": seed, "skip_bad": skip_bad,
    }  # fmt: skip
    return Corpus(sentences, about, bad, path if path.is_file() else None)
