"""An answer as a table (pandas): one row for each of its tokens and each of the prompt's."""

from collections.abc import Sequence

import pandas

from ligflow.results.prediction_data import PredictionData

COLUMNS = ("answer_position", "answer_token", "position", "token", "relevance", "error", "kept")


def to_pandas(rows: Sequence[PredictionData], prompt: int) -> pandas.DataFrame:
    """Relevance of the `prompt` first tokens for each token of the answer, which sums to its change."""
    frames = [
        pandas.DataFrame(
            {
                "answer_position": number,
                "answer_token": str(row.meta.get("question", "")),
                "position": range(prompt),
                "token": row.tokens[:prompt],
                "relevance": row.relevance[:prompt].tolist(),
                "error": row.error[:prompt].tolist(),
                "kept": row.kept[:prompt],
            }
        )
        for number, row in enumerate(rows)
    ]
    return pandas.concat(frames, ignore_index=True)[list(COLUMNS)]
