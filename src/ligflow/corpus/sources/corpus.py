"""A corpus: sentences, and where they come from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ligflow.corpus.sources.sentence import BadLine, Sentence


@dataclass(frozen=True)
class Corpus:
    """Sentences, read anew at each call, and what the manifest says about where they come from.

    Lines that were left out are in `bad` after reading. `file` is the file they come from, if it is one.
    """

    read: Callable[[], Iterable[Sentence]]
    about: Mapping[str, Any]
    bad: list[BadLine] = field(default_factory=list)
    file: Path | None = None
