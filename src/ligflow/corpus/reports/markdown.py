"""Tables and text in Markdown."""

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+-.!|<>~$" else c for c in text.replace("\n", " "))


def in_words(lines: Iterable[str]) -> list[str]:
    """Lines of a page as a terminal shows them: without marks of bold, of code, and of lists."""
    return [line.removeprefix("- ").replace("**", "").replace("`", "") for line in lines]
