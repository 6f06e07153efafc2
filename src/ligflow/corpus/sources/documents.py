"""Which document a sentence of a CoNLL-U file is of, and of which genre, as its comments say.

| comment | what it says |
|---|---|
| `# newdoc id = NAME` | a document begins; without a name, it is called by its first line |
| `# meta::genre = NAME`, `# genre = NAME` | its genre, from here to the next document |

A document's name that begins with a word and a hyphen (`weblog-...`, as in UD English EWT) has that word
as its genre, where no comment tells another.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_NEW = re.compile(r"#\s*newdoc\b(?:\s+id)?(?:\s*=\s*(.*\S))?\s*")
_GENRE = re.compile(r"#\s*(?:meta::)?genre\s*=\s*(.*\S)\s*")
_FIRST_WORD = re.compile(r"([^\W\d_]+)-.")


@dataclass(frozen=True)
class Source:
    """The document and the genre of a sentence, None where no comment before it tells."""

    document: str | None = None
    genre: str | None = None

    def following(self, block: Sequence[tuple[int, str | None]], name: str) -> "Source":
        """Those of the next sentence, whose numbered lines are `block` of the file `name`."""
        source = self
        for number, line in block:
            if line is None or not line.startswith("#"):
                continue
            if new := _NEW.fullmatch(line):
                document = new[1] or f"{name}:{number}"
                word = _FIRST_WORD.match(new[1] or "")
                source = Source(document, word[1] if word else None)
            elif genre := _GENRE.fullmatch(line):
                source = Source(source.document, genre[1])
        return source
