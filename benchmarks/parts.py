"""What it costs to split what heads read by value, key and query: over the same result without parts.

    python benchmarks/parts.py [--models embedded:minilm,embedded:smollm2] [--repeats 5] [--tiny]

CPU seconds of the process, the least of several runs in turns; 1.5 times is aimed at.
"""

from collections.abc import Callable

import measure
import subjects
from ligflow import Explainer
from measure import Row, note, number, text

COLUMNS: measure.Columns = {
    "what": text("what"),
    "tokens": number("tokens", "d"),
    "without, s": number("without", ".2f"),
    "with parts, s": number("parts", ".2f"),
    "times": number("times", ".2f"),
}
TEXT = subjects.SENTENCE.split(",")[0] + "."


def main(
    models: str = "embedded:minilm,embedded:smollm2",
    repeats: measure.Repeats = 5,
    threads: measure.Threads = 1,
    tiny: measure.Tiny = False,
    out: measure.Out = None,
) -> None:
    """Measure what parts cost in flows and in predictions."""
    machine = measure.machine(measure.place("cpu", threads))
    rows: list[Row] = []
    for name in ["embedded:minilm"] if tiny else models.split(","):
        note(f"{name} ...")
        rows += [{"what": f"{name}, {what}", **row} for what, row in of_model(name, repeats, tiny).items()]
    settings = {"repeats": repeats, "tiny": tiny}
    measure.report("parts", out, machine, settings, rows, COLUMNS, "CPU seconds, with parts over without.")


def of_model(name: str, repeats: int, tiny: bool) -> dict[str, Row]:
    """Rows for all maps, for z2u alone, and, where the model answers, for a prediction with all edges."""
    explainer, told = Explainer.from_pretrained(name), "The cat sat." if tiny else TEXT
    layers = [0] if tiny else None
    runs: dict[str, Callable[..., object]] = {
        "all maps": lambda **parts: explainer.explain(told, layers=layers, **parts),
        "what heads read alone": lambda **parts: explainer.explain(
            told, layers=layers, routes=("z2u",), **parts
        ),
    }
    if "minilm" not in name:
        runs["a prediction"] = lambda **parts: explainer.explain_prediction(told, edges="all", **parts)
    tokens = len(explainer.explain(told, layers=[0], routes=("z2u",)).tokens)
    return {what: {"tokens": tokens, **ratio(run, repeats)} for what, run in runs.items()}


def ratio(run: Callable[..., object], repeats: int) -> Row:
    """The least CPU seconds without and with parts, and their ratio."""
    without, parts = measure.least([run, lambda: run(parts=True)], repeats)
    return {"without": without, "parts": parts, "times": parts / without}


if __name__ == "__main__":
    measure.run(main)
