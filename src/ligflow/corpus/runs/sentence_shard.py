"""The tables of some sentences under the consistency experiment: comparisons, certificates, and the maps."""

import warnings
from collections.abc import Mapping

import pyarrow as pa
from torch import Tensor

from ligflow.corpus.runs.kept_maps import header_of, tensors_of
from ligflow.corpus.runs.store import Results
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.certificates import certify
from ligflow.corpus.tables.comparisons import compare
from ligflow.corpus.tables.experiment import Experiment, named
from ligflow.corpus.tables.schema import CELLS, METRIC_ROWS, SENTENCES
from ligflow.devices.precision import exact_mode
from ligflow.errors import CompletenessWarning, LigflowError
from ligflow.explainer.computation import attention_of
from ligflow.explainer.example import Example
from ligflow.explainer.explainer import Explainer
from ligflow.flow import Flow
from ligflow.progress import Progress


def results_of_sentences(
    explainer: Explainer,
    sentences: list[Sentence],
    experiment: Experiment,
    batch_size: int | None = None,
    progress: Progress = False,
) -> tuple[Results, int]:
    """The tables of some sentences, and how many of them could be explained."""
    reasons: dict[int, str] = {}
    flows: dict[int, list[Flow]] = {}
    attentions: dict[int, Tensor] = {}

    def on_example(place: int, example: Example) -> None:
        with exact_mode(explainer.prepared.home):
            attentions[place] = attention_of(example)

    def left_out(place: int, _: object, error: LigflowError) -> None:
        reasons[place] = str(error)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompletenessWarning)  # every cell is in the tables
        explained = explainer.explain_many_under(
            [sentence.inputs for sentence in sentences], experiment.variants, layers=experiment.layers,
            batch_size=batch_size, progress=progress, left_out=left_out, on_example=on_example,
        )  # fmt: skip
        for flow in explained:
            flows[flow[0].meta["index"]] = flow
    metrics, cells = [METRIC_ROWS.empty_table()], [CELLS.empty_table()]
    for place, parts in sorted(flows.items()):
        sentence = sentences[place]
        metrics.append(compare(sentence.number, named(parts), attentions.pop(place), experiment))
        cells.append(certify(sentence.number, named(parts)))
    tables = {
        "sentences": _sentences(sentences, flows, reasons),
        "metrics": pa.concat_tables(metrics).unify_dictionaries(),
        "cells": pa.concat_tables(cells).unify_dictionaries(),
    }
    if not experiment.maps:
        return Results(tables), len(flows)
    kept = {sentences[place].number: named(parts) for place, parts in flows.items()}
    return Results(tables, tensors_of(kept), header_of(kept)), len(flows)


def _sentences(
    sentences: list[Sentence], flows: Mapping[int, list[Flow]], reasons: Mapping[int, str]
) -> pa.Table:
    rows = [
        {
            "sentence": sentence.number,
            "place": sentence.place,
            "tokens": len(flows[place][0].tokens) if place in flows else None,
            "left_out": reasons.get(place),
        }
        for place, sentence in enumerate(sentences)
    ]
    return pa.Table.from_pylist(rows, schema=SENTENCES)
