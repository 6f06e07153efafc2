"""Tokens as screens name them."""

_BLANKS = str.maketrans("ĠĊĉ▁", "    ")  # how vocabularies write blanks that no text shows


def printable(token: str) -> str:
    """Control characters as escapes, so that a token cannot steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in token)


def trimmed(token: str) -> str:
    """A token without the blanks around it, printable; a blank alone is an open box."""
    return printable(token.strip(" ") or token.replace(" ", "␣"))


def is_blank(token: str) -> bool:
    """Whether a token is blanks and line ends alone."""
    return not token.translate(_BLANKS).strip()
