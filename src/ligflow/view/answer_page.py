"""The page of predictions: one offline file, the finding on top, linked views of words and heads below."""

from collections import Counter
from collections.abc import Iterator, Sequence

from ligflow.errors import LigflowError
from ligflow.inputs.character_pieces import joined
from ligflow.results.prediction_data import PredictionData
from ligflow.results.prediction_sums import total
from ligflow.view import prediction_words as words
from ligflow.view import self_contained
from ligflow.view.answer_html import answer_body
from ligflow.view.prediction_html import body, styled
from ligflow.view.prediction_payload import EDGE_BYTES, pack

Rows = Sequence[PredictionData]  # of an answer, or one prediction
_SHARED = ("wording.js", "safetensors.js", "elements.js", "pens.js", "csv.js", "tooltip.js", "alignment.js")
_MODULES = (  # each imports from those before it alone
    "numbers.js", "colours.js", "prediction_data.js", "summed_rows.js", "parts.js", "state.js", "app.js",
    "view_section.js", "tip.js", "controls.js", "headline.js", "word_text.js", "word_names.js",
    "word_window.js", "strongest_steps.js",
    "answer_matrix.js", "passage_list.js", "word_table.js", "beside.js", "comparison.js", "depth_map.js",
    "compared_grids.js", "compared_depths.js", "compared_heads.js", "ladder.js",
    "part_detail.js",
    "flow_graph.js", "flow_ways.js", "flow_layout.js", "flow_drawing.js", "flow_picture.js",
    "compared_flows.js", "head_map.js", "views.js", "answer_viewer.js",
)  # fmt: skip
_STYLE = (
    '\nhtml, body { margin: 0; }\nhtml:has(.ligflow-answer[data-theme="dark"]) { background: #16191f; }\n'
)
_START = """
const files = [...document.querySelectorAll("script.prediction")].map((block) => (
  { name: JSON.parse(block.dataset.name), base64: block.textContent.trim() }));
mountAnswer(document.body, files, { fragment: true });
"""


def page(predictions: Sequence[PredictionData | Rows], names: Sequence[str] | None = None) -> str:
    """The page in HTML. The first prediction is shown, the others can be chosen; rows of an answer are one.

    Without JavaScript it says the same as static HTML. Raises LigflowError without a prediction, and for
    rows of other inputs or references.
    """
    groups = _groups(predictions)
    files = "".join(
        self_contained.embedded(data, "prediction", name) for name, data in packed(predictions, names)
    )
    static = "<hr>\n".join(_static(rows) for rows in groups)
    return self_contained.document(
        str(groups[0][0].meta.get("text") or "why this prediction"),
        _STYLE + style(),
        f"<noscript>{styled(static, dark=True)}</noscript>\n{files}",
        module() + _START,
    )


def module() -> str:
    """The viewer of predictions, one ES module."""
    shared = (f"viewer/{name}" for name in _SHARED)
    return self_contained.module([*shared, *(f"answer_viewer/{name}" for name in _MODULES)])


def style() -> str:
    """The viewer's style sheet."""
    return self_contained.asset("answer_viewer/answer_viewer.css")


def packed(
    predictions: Sequence[PredictionData | Rows], names: Sequence[str] | None = None
) -> list[tuple[str, bytes]]:
    """The files that the viewer reads, each with its name; rows of an answer share one."""
    groups = _groups(predictions)
    called = [*_apart(names or _called_apart(groups))]
    room = EDGE_BYTES // sum(map(len, groups))
    return [(name, pack(row, room)) for rows, name in zip(groups, called, strict=True) for row in rows]


def _groups(predictions: Sequence[PredictionData | Rows]) -> list[Rows]:
    groups: list[Rows] = [
        (each,) if isinstance(each, PredictionData) else tuple(each) for each in predictions
    ]
    if not groups or not all(groups):
        raise LigflowError("A page needs at least one prediction.")
    return groups


def _static(rows: Rows) -> str:
    return body(rows[0]) if len(rows) == 1 else answer_body(total(rows), rows)


def _called(rows: Rows) -> str:
    """A prediction by what was asked: the answer, the contrast."""
    questions = [str(row.meta.get("question") or "") for row in rows]
    return words.shown(joined(questions)) if any(questions) else words.question_called(rows[0])


def _called_apart(groups: Sequence[Rows]) -> list[str]:
    """What predictions are called, those of one question with their reference too."""
    names = [_called(rows) for rows in groups]
    references = [words.reference_called(rows[0]) for rows in groups]
    return [
        f"{name}, with {reference}" if names.count(name) > 1 and len({*references}) > 1 else name
        for name, reference in zip(names, references, strict=True)
    ]


def _apart(names: Sequence[str]) -> Iterator[str]:
    """Names of predictions, numbered where several are called alike."""
    alike = Counter(names)
    for number, name in enumerate(names, 1):
        yield f"{number}. {name}" if alike[name] > 1 else name
