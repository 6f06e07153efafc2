"""Makes docs/llms.txt, the list of the pages for language models, of the menu and the pages' first sentences.

Run: python docs/scripts/llms.py. The form is that of https://llmstxt.org; the site serves it as /llms.txt.
"""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1]
MENU = re.compile(r"^( *)- (?:\"(.+?)\"|([^:\n]+)):(?: (\S+\.md))?$", re.MULTILINE)
LINK = re.compile(r"\[+([^\]]+)\]+\([^)]*\)")
HEAD = """# ligflow

> Layer-wise Integrated Gradients inside Transformers, and why a model said what it said: Python library,
> command line (`ligflow`), pages that open offline. Maps from token vectors to token vectors within a layer,
> by head; relevance of words, heads and MLPs for an answer. Every sum that is known is checked and printed.

`pip install 'ligflow[minilm]'`. `explain(text)` of `from ligflow import explain` returns a `Flow`, the
inside of layers; `Explainer.from_pretrained(model).explain_prediction(prompt)` a `Prediction`, why.
A certificate says that a sum is right, not that a token is a cause.
"""


def pages() -> list[tuple[str, list[tuple[str, str]]]]:
    """The sections of the menu, each with titles and paths of its pages."""
    menu = (
        (DOCS.parent / "mkdocs.yml")
        .read_text(encoding="utf-8")
        .split("\nnav:\n")[1]
        .split("\nvalidation:")[0]
    )
    sections: list[tuple[str, list[tuple[str, str]]]] = []
    for indent, quoted, plain, path in MENU.findall(menu):
        if path and not indent.startswith("    "):
            continue  # the first page is what the head says
        if path:
            sections[-1][1].append((quoted or plain, path))
        else:
            sections.append((quoted or plain, []))
    return sections


def first_sentence(path: str) -> str:
    """What a page begins with, without links and marks."""
    text = (DOCS / path).read_text(encoding="utf-8").split("\n", 1)[1]
    paragraph = next(part for part in text.split("\n\n") if re.match(r"\s*(?!```)[\w`*\[\"]", part))
    words = LINK.sub(r"\1", " ".join(paragraph.split())).replace("**", "")
    first = re.split(r"(?<=[.?!:]) ", words, maxsplit=1)[0]
    return first if first[-1] in ".?!" else f"{first.rstrip(':')}."


def made() -> str:
    """The file."""
    parts = [HEAD]
    for name, entries in pages():
        lines = [f"- [{title}]({path}): {first_sentence(path)}" for title, path in entries]
        parts.append("\n".join([f"## {name}", "", *lines, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    (DOCS / "llms.txt").write_text(made(), encoding="utf-8")
