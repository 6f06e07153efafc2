"""One prediction as rows of the tables of a run on prompts; see `prediction_schema`."""

from typing import Any

import numpy as np
import pyarrow as pa

from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.tables.prediction_schema import COMPONENTS, PROMPTS, TOKENS
from ligflow.results.prediction_data import PredictionData

_KINDS = {"heads": "head", "cross_heads": "cross-head", "mlps": "mlp"}  # by the field of a prediction


def left_out_row(prompt: Prompt, reason: str) -> dict[str, Any]:
    """The row of a prompt that could not be explained."""
    return dict.fromkeys(PROMPTS.names) | _name(prompt) | {"left_out": reason}


def row_of_prediction(prompt: Prompt, prediction: PredictionData) -> dict[str, Any]:
    """The row of a prompt that was explained."""
    says, probability = (*prediction.top, (None, None))[0]
    instead, of_instead = (*prediction.reference_top, (None, None))[0]
    return _name(prompt) | {
        "left_out": None,
        "tokens": len(prediction.tokens),
        "question": prediction.meta["question"],
        "says": says,
        "probability": probability,
        "reference": prediction.meta["reference"],
        "reference_says": instead,
        "reference_probability": of_instead,
        "score": prediction.value,
        "reference_score": prediction.reference_value,
        "change": prediction.change,
        "scale": prediction.scale,
        "completeness_error": float(prediction.relevance.sum()) - prediction.change,
        "certificate": prediction.certificate,
        "estimated_error": float(prediction.error.sum()),
        "unmet": len(prediction.unmet),
        "points": max((segment.points for segment in prediction.certificates), default=0),
    }


def _name(prompt: Prompt) -> dict[str, Any]:
    return {"prompt": prompt.number, "place": prompt.place, "group": prompt.group}


def tokens(number: int, prediction: PredictionData) -> pa.Table:
    """A row for each token of prompt `number`."""
    count = len(prediction.tokens)
    streams = [name for name, begin, end in prediction.streams for _ in range(begin, end)]
    columns = {
        "prompt": np.full(count, number),
        "position": np.arange(count, dtype=np.int32),
        "token": prediction.tokens,
        "stream": streams,
        "kept": list(prediction.kept),
        "relevance": prediction.relevance.numpy(),
        "error": prediction.error.numpy(),
    }
    return pa.table(columns, schema=TOKENS)


def components(number: int, prediction: PredictionData) -> pa.Table:
    """A row for each head and each MLP of every layer at each token of prompt `number`."""
    parts = [
        _of_part(number, kind, layer, values.numpy())
        for field, kind in _KINDS.items()
        for layer, values in getattr(prediction, field).items()
    ]
    return pa.concat_tables([COMPONENTS.empty_table(), *parts]).unify_dictionaries()


def _of_part(number: int, kind: str, layer: int, values: np.ndarray) -> pa.Table:
    """What the heads of a layer, `[head, token]`, or its MLP, `[token]`, contribute."""
    head, position = (axis.ravel() for axis in np.indices(np.atleast_2d(values).shape))
    size = values.size
    columns = {
        "prompt": np.full(size, number),
        "kind": pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, dtype=np.int8)), pa.array([kind])),
        "layer": np.full(size, layer, dtype=np.int16),
        "head": pa.nulls(size, pa.int16()) if values.ndim == 1 else head.astype(np.int16),
        "position": position.astype(np.int32),
        "relevance": values.ravel(),
    }
    return pa.table(columns, schema=COMPONENTS)
