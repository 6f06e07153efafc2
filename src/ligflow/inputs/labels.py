"""Tokens as screens name them."""

from collections import Counter
from collections.abc import Sequence

_BLANKS = str.maketrans("ĠĊĉ▁", "    ")  # how vocabularies write blanks that no text shows


def printable(token: str) -> str:
    """Control characters as escapes, so that a token cannot steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in token)


def trimmed(token: str) -> str:
    """A token without the blanks around it, printable; a blank alone is an open box."""
    return printable(token.strip(" ") or token.replace(" ", "␣"))


def told_apart(tokens: Sequence[str]) -> list[str]:
    """Tokens as `trimmed` names them; where two would be called alike, their blanks are boxes."""
    plain = [trimmed(token) for token in tokens]
    alike = Counter(trimmed(token) for token in {*tokens})
    return [
        printable(_boxed(token)) if alike[label] > 1 else label
        for token, label in zip(tokens, plain, strict=True)
    ]


def _boxed(token: str) -> str:
    """The blanks at both ends of a token as boxes."""
    inner = token.strip(" ")
    before = len(token) - len(token.lstrip(" "))
    return f"{'␣' * before}{inner}{'␣' * (len(token) - before - len(inner))}"


def is_blank(token: str) -> bool:
    """Whether a token is blanks and line ends alone."""
    return not token.translate(_BLANKS).strip()
