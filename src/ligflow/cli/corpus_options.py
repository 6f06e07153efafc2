"""The options that name a corpus, and which of its sentences: each is described here once."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ligflow.cli.options import CORPUS, METHOD, choice, option
from ligflow.cli.usage_errors import Usage
from ligflow.names import FORMATS

if TYPE_CHECKING:
    from ligflow.corpus.sources.corpus import Corpus, Kind
    from ligflow.corpus.sources.prompt import Prompt
    from ligflow.corpus.sources.sentence import BadLine, Sentence

_SOURCE = "A file, hf:NAME (or hf://datasets/NAME) for a dataset of the hub, or embedded:sentences."
Source = Annotated[str, typer.Argument(help=_SOURCE)]
SourceOption = Annotated[str, option(_SOURCE, CORPUS)]
Format = Annotated[
    str | None, choice("--format", FORMATS, "How the file is read; by default as its name ends", CORPUS)
]
Column = Annotated[str | None, option("The column that holds the sentences.", CORPUS)]
Columns = Annotated[
    str | None,
    option(
        "Which columns hold what, where they are not called so: "
        "prompt=question,answer=target (also contrast, reference, passages, group).",
        CORPUS,
    ),
]
Split = Annotated[str | None, option("Split of a dataset; default: train.", CORPUS)]
Subset = Annotated[str | None, option("Configuration of a dataset.", CORPUS)]
Start = Annotated[int, option("The first sentence, counted from 0.", CORPUS)]
End = Annotated[int | None, option("The sentence to stop before.", CORPUS)]
Sample = Annotated[int | None, option("Draw this many of them at random.", CORPUS)]
SkipBad = Annotated[bool, option("Leave malformed lines out, and list them.", CORPUS, "--skip-bad")]
Draws = Annotated[int, option("How often sentences are drawn anew for the intervals.", METHOD)]


@dataclass(frozen=True)
class Part:
    """How a corpus is read, and which of its sentences: the options that `with_part` gives to a command."""

    format: Format = None
    column: Column = None
    split: Split = None
    subset: Subset = None
    start: Start = 0
    end: End = None
    sample: Sample = None


@dataclass(frozen=True)
class PromptPart:
    """How prompts are read, and which of them: as `Part`."""

    format: Format = None
    columns: Columns = None
    split: Split = None
    subset: Subset = None
    start: Start = 0
    end: End = None
    sample: Sample = None


ALL, ALL_PROMPTS = Part(), PromptPart()


def with_part(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter `part` is filled from options, which stand in its place."""
    signature = inspect.signature(command)
    kind = signature.parameters["part"].annotation
    own, at = list(signature.parameters.values()), list(signature.parameters).index("part")
    options = [own[at].replace(name=f.name, default=f.default, annotation=f.type) for f in fields(kind)]

    @wraps(command)
    def called(**values: Any) -> None:
        part = kind(**{option.name: values.pop(option.name) for option in options})
        command(**values, part=part)

    # typer reads the options off these two
    parameters = [*own[:at], *options, *own[at + 1 :]]
    vars(called)["__signature__"] = signature.replace(parameters=parameters)
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called


def corpus_of(source: str, part: Part, seed: int = 0, skip_bad: bool = False) -> "Corpus[Sentence]":
    """The corpus that the options name; `seed` is that of the sample."""
    from ligflow.corpus.sources.readers import read

    options = {"format": part.format, "column": part.column, "split": part.split, "subset": part.subset}
    return _corpus(source, part, lambda: read(source, **options), seed, skip_bad)


def prompts_of(
    source: str, part: PromptPart, seed: int, skip_bad: bool, model: str, trust_remote_code: bool
) -> "Corpus[Prompt]":
    """The prompts that the options name, whose answers the tokenizer of the model can write."""
    from ligflow.corpus.sources.answer_check import with_writable_answers
    from ligflow.corpus.sources.readers import read_prompts

    options = {"format": part.format, "columns": part.columns, "split": part.split, "subset": part.subset}

    def read() -> "Iterator[Prompt | BadLine]":
        return with_writable_answers(read_prompts(source, **options), model, trust_remote_code)

    return _corpus(source, part, read, seed, skip_bad)


def _corpus(
    source: str,
    part: Part | PromptPart,
    read: "Callable[[], Iterator[Kind | BadLine]]",
    seed: int,
    skip_bad: bool,
) -> "Corpus[Kind]":
    from ligflow.corpus.sources.corpus import Corpus
    from ligflow.corpus.sources.selection import select, sentences_of
    from ligflow.corpus.sources.sentence import BadLine, printable

    bad: list[BadLine] = []

    def items() -> "Iterator[Kind]":
        bad.clear()
        return sentences_of(select(read(), part.start, part.end, part.sample, seed), skip_bad, bad.append)

    path = Path(source)
    name = printable(str(path.resolve()) if path.exists() else source)
    about = {"source": name, **asdict(part), "seed": seed, "skip_bad": skip_bad}
    return Corpus(items, about, bad, path if path.is_file() else None)


def enough_draws(draws: int) -> int:
    """The draws of a bootstrap, if they make an interval."""
    if draws < 100:
        raise Usage(f"--draws is {draws}; an interval takes at least 100.")
    return draws
