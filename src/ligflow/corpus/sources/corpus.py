"""A corpus: sentences or prompts, and where they come from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.sources.sentence import BadLine, Sentence

Kind = TypeVar("Kind", Sentence, Prompt)


@dataclass(frozen=True)
class Corpus(Generic[Kind]):
    """Sentences, or prompts, read anew at each call, and what the manifest says about where they come from.

    Lines that were left out are in `bad` after reading. `file` is the file they come from, if it is one.
    """

    read: Callable[[], Iterable[Kind]]
    about: Mapping[str, Any]
    bad: list[BadLine] = field(default_factory=list)
    file: Path | None = None
