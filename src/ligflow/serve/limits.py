"""The most that one request, and all that wait, may take."""

from dataclasses import dataclass

_BODY = 64 * 1024
_ESCAPED = 12  # bytes of one character at most: two \uXXXX


@dataclass(frozen=True)
class Limits:
    """Characters and tokens of a request's texts together, requests that wait, and results that are kept.

    A request that nobody asks about for `patience` seconds is given up; a tab in the background asks once a
    minute.
    """

    characters: int = 2000
    tokens: int = 256
    queue: int = 64
    keep: int = 32
    patience: int = 90

    @property
    def body(self) -> int:
        """Bytes of a request: enough for texts of `characters`, however they are escaped."""
        return max(_BODY, _ESCAPED * self.characters + 4096)
