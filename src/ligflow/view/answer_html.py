"""An answer as static HTML: its tokens by those of the prompt, and the answer as a whole."""

from collections.abc import Sequence
from html import escape

import torch

from ligflow.inputs.character_pieces import joined
from ligflow.results.prediction_data import PredictionData
from ligflow.view import prediction_words as words
from ligflow.view.answer_terminal import made_of
from ligflow.view.listed import listed
from ligflow.view.prediction_grids import Grid, strongest_columns
from ligflow.view.prediction_html import body, grid_table


def answer_body(whole: PredictionData, rows: Sequence[PredictionData]) -> str:
    """What is said of an answer, in the order in which it is read."""
    tokens = [str(row.meta.get("question", "")) for row in rows]
    prompt = len(whole.tokens) - len(rows) + 1
    head = ("token", "score", "with reference", "change", "made of")
    lines = [
        (
            words.shown(token), f"{row.value:.3g}", f"{row.reference_value:.3g}", words.number(row.change),
            made_of(row),
        )
        for token, row in zip(tokens, rows, strict=True)
    ]  # fmt: skip
    grid = by_token(rows, tokens, prompt)
    return (
        f"<h1>The answer: ‘{escape(words.shown(joined(tokens)))}’</h1>\n{listed(head, lines, head[-1:])}"
        "<h2>The answer by the prompt</h2>\n"
        '<p class="faint small">Each row is a token of the answer, and sums to its change; earlier tokens of '
        f"the answer are kept.{escape(grid.note)}</p>\n{grid_table(grid)}<hr>\n"
        f'<p class="faint small">The answer as a whole:</p>\n{body(whole)}'
    )


def by_token(rows: Sequence[PredictionData], tokens: Sequence[str], prompt: int) -> Grid:
    """Relevance by token of the answer and of the prompt; kept tokens have none."""
    values = torch.stack([row.relevance[:prompt].double() for row in rows])
    kept = torch.tensor(rows[0].kept[:prompt])
    values, columns, note = strongest_columns(
        values.masked_fill(kept, torch.nan), words.tokens_called(rows[0].tokens[:prompt])
    )
    most = float(values.nan_to_num().abs().amax()) or 1.0
    names = [words.shown(token) for token in tokens]
    return Grid(values, names, columns, most, max(row.scale for row in rows), words.KEPT, note)
