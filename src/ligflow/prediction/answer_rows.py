"""Rows of an answer, each of which reads the vocabulary head at a token of its own.

What the head says at one token depends on no other. So rows are examples there, each with one token: with all
tokens for every row the head would take as many times as long as the answer has tokens.
"""

from collections.abc import Mapping
from dataclasses import replace

from ligflow.prediction.path_variable import Variable
from ligflow.prediction.segment import FewTokens, Segment


def score_by_row(score: Variable, few: FewTokens | None) -> Variable:
    """The score, with an example for each row where these read tokens of their own."""
    if few is None or len(few.places) == 1:
        return score
    return replace(score, real=score.real[:, None], reference=score.reference[:, None], rows=True)


def source_by_row(segment: Segment, variables: Mapping[str, Variable]) -> Mapping[str, Variable]:
    """The variables; where rows are examples to the head alone, with its source for each of them."""
    if segment.few is None or variables[segment.sources[0]].rows or not variables[segment.images[0]].rows:
        return variables
    (name,), rows = segment.sources, len(segment.few.places)
    source = variables[name]
    real, reference = (end.expand(rows, *end.shape) for end in (source.real, source.reference))
    return {**variables, name: replace(source, real=real, reference=reference, rows=True)}
