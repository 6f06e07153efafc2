"""A head whose rows are known, and its measures."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from browser import flow_of
from ligflow.corpus.analysis.head_profiles import MEASURES, measured
from ligflow.corpus.sources.sentence import Sentence

TOKENS = ["[CLS]", "the", "light", "##house", ".", "[SEP]"]
ABOUT: dict[str, Any] = {
    "words": [0, 1, 2, 2, 3, 4],
    "word_labels": ["[CLS]", "the", "lighthouse", ".", "[SEP]"],
    "word_places": [-1, 0, 1, 2, -1],
}
SENTENCE = Sentence(
    0, "the lighthouse.", "x", ((0, 3), (4, 14), (14, 15)), (1, -1, 1), ("det", "root", "punct")
)


def of(rows: torch.Tensor) -> np.ndarray:
    """All measures of a flow with one layer and one head of these rows."""
    made = flow_of(TOKENS, layers=1, heads=1, **ABOUT)
    changed = replace(made, tensors={**made.tensors, "z2u": rows[None, None].double()})
    return measured(changed, SENTENCE)[0, 0]


def mean_of(values: np.ndarray, measure: str) -> float:
    return float(np.nanmean(values[MEASURES.index(measure)]))
