"""The page of all heads of a run on prompts: two measures as a picture, examples of the head that is chosen.

One offline file. What it shows is given as plain data; all texts are escaped, here or where scripts set them
as text. Without JavaScript it says the numbers in a table.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape

from ligflow.inputs.labels import printable
from ligflow.view import self_contained

_MODULES = (  # each imports from those before it alone
    "viewer/elements.js", "answer_viewer/numbers.js", "heads_viewer/measures.js", "heads_viewer/scatter.js",
    "heads_viewer/examples.js", "heads_viewer/component_table.js", "heads_viewer/heads_viewer.js",
)  # fmt: skip
_STYLE = "\nhtml, body { margin: 0; }\n"
_START = """
const block = document.querySelector("script.data").textContent.trim();
mountHeads(document.querySelector(".heads"), dataOf(block));
"""


@dataclass(frozen=True)
class Measure:
    """What a number of every head says, and its `unit`: share (shown in per cent), score, or count.

    The first measure of a page is the mean share.
    """

    name: str
    about: str
    unit: str = "share"


@dataclass(frozen=True)
class ShownExample:
    """A prompt, and what a head contributes at each of its tokens."""

    prompt: int
    share: float
    relevance: Sequence[float]


@dataclass(frozen=True)
class ShownComponent:
    """A head or MLP: its values in the order of the measures (None: not defined), and its examples.

    `carries` is `for`, `against` the answer, or `no`.
    """

    name: str
    kind: str
    carries: str
    low: float | None
    high: float | None
    values: Sequence[float | None]
    examples: Sequence[ShownExample]


@dataclass(frozen=True)
class ShownPrompt:
    """A prompt that is an example; `page` is the address of its own page, where it has one."""

    tokens: Sequence[str]
    question: str
    change: float
    place: str
    group: str | None
    page: str | None


@dataclass(frozen=True)
class HeadsPage:
    """All that the page shows; `limits` are what the control stays below, by kind of component."""

    title: str
    summary: Sequence[str]
    measures: Sequence[Measure]
    components: Sequence[ShownComponent]
    prompts: Mapping[int, ShownPrompt]
    limits: Mapping[str, float]


def page(shown: HeadsPage) -> str:
    """The page in HTML."""
    data = _printable(asdict(shown))
    block = self_contained.embedded(json.dumps(data, allow_nan=False).encode(), "data", "heads")
    said = "".join(f"<li>{_text(line)}</li>" for line in shown.summary)
    body = (
        f'<main class="ligflow-heads"><h1>{_text(shown.title)}</h1><ul>{said}</ul>'
        f'<div class="heads"></div><noscript>{_table(shown)}</noscript></main>\n{block}'
    )
    style = _STYLE + self_contained.asset("heads_viewer/heads_viewer.css")
    return self_contained.document(shown.title, style, body, self_contained.module(_MODULES) + _START)


def _text(text: str) -> str:
    return escape(printable(text))


def _printable(data: object) -> object:
    """The same with what texts would hide, or turn around, written out; an address stays as it is."""
    if isinstance(data, str):
        return printable(data)
    if isinstance(data, Mapping):
        return {name: part if name == "page" else _printable(part) for name, part in data.items()}
    return [_printable(part) for part in data] if isinstance(data, list | tuple) else data


def _table(shown: HeadsPage) -> str:
    heads = "".join(f"<th>{_text(name)}</th>" for name in ("", "carries", *(m.name for m in shown.measures)))
    rows = "".join(
        f"<tr><th>{_text(part.name)}</th><td>{_text(part.carries)}</td>"
        + "".join(f"<td>{'none' if value is None else f'{value:.4g}'}</td>" for value in part.values)
        + "</tr>"
        for part in shown.components
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
