"""Whether two names may be of one model, as `gpt2-small` and `openai-community/gpt2` are."""

import re

_SIZE = re.compile(r"\d+(?:\.\d+)?[mbk]", re.ASCII)
_WORD = re.compile(r"[a-z0-9.]+", re.ASCII)


def told_apart(first: str, second: str) -> bool:
    """Whether two names are surely of different models: no word is in both, or sizes are, and differ."""
    ours, theirs = (set(_WORD.findall(name.lower())) for name in (first, second))
    if not ours or not theirs:
        return False
    sizes = [{word for word in words if _SIZE.fullmatch(word)} for words in (ours, theirs)]
    if all(sizes) and not sizes[0] & sizes[1]:
        return True
    return not any(_alike(a, b) for a in ours - sizes[0] for b in theirs - sizes[1])


def _alike(first: str, second: str) -> bool:
    """Whether a word is the other, or begins with it: `gemma` and `gemma3`."""
    short, long = sorted((first, second), key=len)
    return len(short) > 1 and long.startswith(short)
