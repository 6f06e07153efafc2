"""Answers on disk: one safetensors file with the predictions of all tokens. Data, never code."""

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.files import atomically
from ligflow.results.flow_header import ANSWER
from ligflow.results.prediction_data import AnyPrediction, PredictionData
from ligflow.results.prediction_file import (
    FORMAT,
    contents,
    labels_of,
    prediction_of,
    tensors_of,
)


def save(rows: Sequence[PredictionData], path: str | Path) -> Path:
    """Writes the rows under a temporary name in the same folder, then renames it."""
    tensors = {
        f"{number}/{name}": tensor
        for number, row in enumerate(rows)
        for name, tensor in tensors_of(row).items()
    }
    labels = {"format": FORMAT, "rows": [labels_of(row) for row in rows]}
    header = {ANSWER: json.dumps(labels, ensure_ascii=False)}
    return atomically(path, lambda scratch: save_file(tensors, scratch, header))


def load(path: str | Path, kind: type[AnyPrediction]) -> tuple[AnyPrediction, ...]:
    """Reads the rows, each a prediction of class `kind`.

    Raises LigflowError if the file is missing, truncated, foreign, of another kind, or from a newer format;
    it names the field or tensor that is wrong.
    """
    path = Path(path)
    labels, tensors = contents(path, ANSWER)
    rows = labels.get("rows") if isinstance(labels, dict) else None
    if not isinstance(rows, list) or not rows:
        raise LigflowError(f"{str(path)!r} is damaged: rows should be a list of predictions.")
    parts: list[dict[str, Tensor]] = [{} for _ in rows]
    for name, tensor in tensors.items():
        number, slash, own = name.partition("/")
        if not (slash and number.isdecimal() and number.isascii() and int(number) < len(rows)):
            raise LigflowError(f"{str(path)!r} is damaged: tensor {name!r} is of no row.")
        parts[int(number)][own] = tensor
    return tuple(prediction_of(row, part, kind, path) for row, part in zip(rows, parts, strict=True))
