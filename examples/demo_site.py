"""A folder of pages that any web host serves: a dozen texts and predictions, and an index of them.

Run: .venv/bin/python examples/demo_site.py [--out demo-site]     (`make demo-site`; a minute and a half)

Every page is one file and fetches nothing. What is there already is written anew, each file whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from ligflow import Explainer, Prediction
from ligflow.files import write_text
from ligflow.view import highlights, prediction_words

LAYERS = (  # name of the page, text
    ("keeper", "The old lighthouse keeper counted the ships while the storm grew darker."),
    ("bank", "She sat on the bank of the river and counted her money from the bank."),
    ("pronoun", "The trophy did not fit into the suitcase because it was too small."),
    ("garden-path", "The horse raced past the barn fell."),
    ("negation", "Nobody said that the bridge was not safe."),
    ("pair", "A man is playing a guitar on the stage."),
)
PREDICTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (  # name of the page, prompt, what is asked
    ("capital", "The capital of France is", {}),
    ("paris-or-london", "The capital of France is", {"answer": " Paris", "contrast": " London"}),
    ("agreement", "The keys to the old cabinet by the window", {"answer": " are", "contrast": " is"}),
    (
        "giving", "When Mary and John went to the store, John gave a drink to",
        {"answer": " Mary", "contrast": " John"},
    ),
    ("repetition", "red, green, blue, white, black, red, green, blue, white,", {}),
    ("opposite", "The opposite of hot is cold. The opposite of big is", {}),
)  # fmt: skip
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44em; margin: 2em auto; padding: 0 1em; }
li { margin: 0 0 1em; } small { display: block; opacity: .75; }
"""


@dataclass(frozen=True)
class Entry:
    """A line of the index."""

    path: str
    text: str
    finding: str


def layer_pages(out: Path) -> Iterator[Entry]:
    """Inside the layers of a sentence encoder: who contributes to whom."""
    explainer = Explainer.from_pretrained("embedded:minilm")
    for name, text in LAYERS:
        flow = explainer.explain(text)
        flow.to_html(out / f"layers-{name}.html")
        finding = next(iter(highlights.sentences(flow, highlights.highlights(flow))))
        yield Entry(f"layers-{name}.html", text, finding)


def answer_pages(out: Path) -> Iterator[Entry]:
    """Why a language model said what it said."""
    explainer = Explainer.from_pretrained("embedded:smollm2")
    for name, prompt, asked in PREDICTIONS:
        prediction = explainer.explain_prediction(prompt, edges="all", **asked)
        prediction.to_html(out / f"why-{name}.html")
        yield Entry(f"why-{name}.html", prompt, finding(prediction))


def finding(prediction: Prediction) -> str:
    """What was asked, and the words that the answer rests on most."""
    words = sorted(prediction.by("words"), key=lambda word: -abs(word.relevance))
    shares = ", ".join(f"{word.name.strip()} {word.relevance / prediction.change:.0%}" for word in words[:3])
    return f"{prediction_words.asked(prediction)}: {shares}"


def index(answers: list[Entry], layers: list[Entry]) -> str:
    """The page that leads to the others."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>ligflow: a dozen pages</title><style>{STYLE}</style></head><body>\n"
        "<h1>Why did the model say this? Who reads whom?</h1>\n"
        "<p>Pages that <b>ligflow</b> wrote. Each is one file that opens offline. The numbers add up to "
        "known sums, which each page checks; they say what a sum is made of, not what would happen without "
        "a word.</p>\n"
        f"<h2>Why a language model said it (SmolLM2-135M)</h2>\n{_list(answers)}"
        f"<h2>Inside the layers of a sentence encoder (MiniLM)</h2>\n{_list(layers)}</body></html>\n"
    )


def _list(entries: list[Entry]) -> str:
    items = "".join(
        f'<li><a href="{escape(entry.path)}">{escape(entry.text)}</a>'
        f"<small>{escape(entry.finding)}</small></li>\n"
        for entry in entries
    )
    return f"<ul>\n{items}</ul>\n"


def main(out: Annotated[Path, typer.Option(help="The folder.")] = Path("demo-site")) -> None:
    """Write the pages, then the index."""
    out.mkdir(parents=True, exist_ok=True)
    answers = list(track(answer_pages(out), "answers", total=len(PREDICTIONS)))
    layers = list(track(layer_pages(out), "layers", total=len(LAYERS)))
    path = write_text(out / "index.html", index(answers, layers))
    print(f"wrote {len(answers) + len(layers)} pages; open {path}")


if __name__ == "__main__":
    typer.run(main)
