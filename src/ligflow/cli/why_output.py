"""What `ligflow why` prints and writes of a prediction."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from rich.text import Text

from ligflow.cli.options import OUTPUT, choice, option
from ligflow.cli.output import Outputs
from ligflow.cli.streams import console
from ligflow.names import FIGURES

if TYPE_CHECKING:
    from ligflow.prediction.answer import Answer
    from ligflow.prediction.check import Replacement
    from ligflow.prediction.prediction import Prediction
    from ligflow.prediction.similarity import Similarity

Save = Annotated[Path | None, option("Save the explanation (safetensors).", OUTPUT, "--save")]
Json = Annotated[Path | None, option("Write all numbers as JSON; - for standard output.", OUTPUT, "--json")]
Csv = Annotated[Path | None, option("Write all nodes as a CSV table.", OUTPUT, "--csv")]
Html = Annotated[Path | None, option("Write a page to look into: words, depths, heads.", OUTPUT, "--html")]
Graph = Annotated[
    Path | None,
    option(
        "Write an attribution graph (JSON), which circuit-tracer's viewer and Neuronpedia read.",
        OUTPUT,
        "--graph",
    ),
]
Plot = Annotated[
    Path | None, option("Write a figure for print: .pdf, .svg or .png, as the name ends.", OUTPUT, "--plot")
]
PlotKind = Annotated[
    str | None,
    choice("--plot-kind", FIGURES, "What --plot draws, by default the words; layers are depths", OUTPUT),
]


def deliver(
    result: Prediction | Answer | Similarity,
    outputs: Outputs,
    spans: str | None,
    paths: int = 0,
    details: bool = False,
    check: bool = False,
    neurons: int | None = None,
    others: Sequence[Prediction] = (),
) -> None:
    """What was asked on the screen and in files; what `--json -` takes is not printed.

    `others` are predictions for the page alone.
    """
    sides = _sides(result)
    spans = _spans(sides, spans)  # before anything is printed or written
    strongest = [path for side in sides for path in side.paths(paths)] if paths else []
    replaced = [each for side in sides for each in side.check()] if check else []
    written = _write(result, outputs, others)
    if str(outputs.json) == "-":
        sys.stdout.write(_json(result) + "\n")
        _draw(result, outputs)
        return
    _print(result, spans, details, neurons)
    if replaced:
        console().print()
        console().print(_replacements(replaced))
    if strongest:
        console().print(Text("\nstrongest paths, in % of the change", style="bold"))
    for path in strongest:
        console().print(Text(str(path)), soft_wrap=True)
    _print_others(others)
    for file in written:
        console().print(Text(f"wrote {file}"), soft_wrap=True)
    if _draw(result, outputs):
        console().print(Text(f"wrote {outputs.plot}"), soft_wrap=True)


def _draw(result: Prediction | Answer | Similarity, outputs: Outputs) -> bool:
    """Writes a figure where one is asked for; the last of all, since a text can be too long for one."""
    if outputs.plot is None:
        return False
    _sides(result)[0].plot(outputs.plot_kind or "words", outputs.plot)
    return True


def _print_others(others: Sequence[Prediction]) -> None:
    """One line for each answer that can be chosen on the page."""
    from ligflow.view.prediction_words import asked

    for other in others:
        console().print(Text(f"also on the page: {asked(other)}"), soft_wrap=True)


def _replacements(replaced: list[Replacement]) -> Table:
    """Relevance of words and heads, beside what the score loses without each, and gains with it alone."""
    from ligflow.view.prediction_words import number, shown

    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    table.add_column("replaced for real (heads: at all tokens)", overflow="fold")
    for name in ("relevance", "taken out", "put in", "mean of both"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in replaced:
        numbers = (each.relevance, each.removed, each.added, each.mean)
        table.add_row(Text(shown(each.name)), *map(number, numbers))
    return table


def _sides(result: Prediction | Answer | Similarity) -> list[Prediction]:
    """The predictions that are shown: of an answer its whole, of a similarity both sides."""
    from ligflow.prediction.answer import Answer
    from ligflow.prediction.prediction import Prediction

    if isinstance(result, Prediction):
        return [result]
    return [result.whole] if isinstance(result, Answer) else [result.text, result.other]


def _spans(sides: list[Prediction], spans: str | None) -> str | None:
    """What is summed over: passages where there are some. Raises LigflowError for what is not known."""
    from ligflow.results.span_relevance import by, known_spans

    if spans is None:
        return "passages" if all("passages" in known_spans(side) for side in sides) else None
    for side in sides:
        by(side, spans)
    return spans


def _print(
    result: Prediction | Answer | Similarity, spans: str | None, details: bool, neurons: int | None
) -> None:
    from ligflow.prediction.answer import Answer
    from ligflow.view import answer_terminal, prediction_terminal

    if isinstance(result, Answer):
        answer_terminal.report(
            result.whole, result.rows, console(), spans=spans, details=details, neurons=neurons
        )
        return
    sides = _sides(result)
    if len(sides) > 1:
        console().print(Text(f"the texts are similar: {sides[0].value:.4g} (cosine)\n", style="bold"))
    for number, side in enumerate(sides):
        if number:
            console().print()
        prediction_terminal.report(side, console(), spans=spans, details=details, neurons=neurons)


def _json(result: Prediction | Answer | Similarity) -> str:
    from ligflow.prediction.similarity import Similarity

    if not isinstance(result, Similarity):
        return result.to_json()
    text, other = (json.loads(side.to_json()) for side in (result.text, result.other))
    data = {"value": result.value, "pooling": result.pooling, "text": text, "other": other}
    return json.dumps(data, ensure_ascii=False)


def _csv(result: Prediction | Answer | Similarity) -> str:
    """A table; of a similarity that of both sides, told apart by a column."""
    from ligflow.prediction.similarity import Similarity

    if not isinstance(result, Similarity):
        return result.to_pandas().to_csv(index=False)
    sides = {"text": result.text, "other": result.other}
    tables = [side.to_pandas().assign(side=name).to_csv(index=False) for name, side in sides.items()]
    return tables[0] + tables[1].partition("\n")[2]


def _html(result: Prediction | Answer | Similarity, path: Path, others: Sequence[Prediction]) -> Path:
    from ligflow.files import write_text
    from ligflow.prediction.prediction import Prediction
    from ligflow.prediction.similarity import Similarity
    from ligflow.view.answer_page import page

    if isinstance(result, Prediction):
        return result.to_html(path, *others)
    if not isinstance(result, Similarity):
        return result.to_html(path)
    return write_text(path, page([result.text, result.other], ["the text", "the other text"]))


def _write(
    result: Prediction | Answer | Similarity, outputs: Outputs, others: Sequence[Prediction]
) -> list[Path]:
    from ligflow.files import write_text

    written = [] if outputs.save is None else [result.save(outputs.save)]
    if outputs.graph:
        written.append(_sides(result)[0].to_attribution_graph(outputs.graph))
    if outputs.csv:
        written.append(write_text(outputs.csv, _csv(result)))
    if outputs.html:
        written.append(_html(result, outputs.html, others))
    if outputs.json and str(outputs.json) != "-":
        written.append(write_text(outputs.json, _json(result)))
    return written
