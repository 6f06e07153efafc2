"""The tables of a run: their columns are those that are documented, and hold what is known by these names."""

from typing import get_args

import pyarrow as pa

from ligflow import names
from ligflow.corpus.tables import schema
from ligflow.evaluation.consistency import METRICS
from ligflow.method import from_names


def test_every_table_is_documented_and_has_the_sentence_first() -> None:
    assert {*schema.TABLES} == {"sentences", "metrics", "cells"}
    assert all(f"| `{name}` |" in str(schema.__doc__) for name in schema.TABLES)
    assert {table.names[0] for table in (*schema.TABLES.values(), schema.CORPUS)} == {"sentence"}


def test_every_metric_has_a_column() -> None:
    columns = {name: schema.METRIC_ROWS.field(name).type for name in METRICS}
    assert {*columns.values()} == {pa.float32()}


def test_baselines_that_are_compared_are_those_of_the_method() -> None:
    assert {*schema.ATT} < {*get_args(names.AttBaseline)}
    assert {*schema.MLP} < {*get_args(names.MlpBaseline)}
    assert {*schema.DIRECT} < {*get_args(names.LayerBaseline)}
    assert [from_names.att_baseline(name).name for name in schema.ATT] == list(schema.ATT)
    assert len(schema.DIRECT) * len(schema.ATT) * len(schema.MLP) == 24  # the pairs of the experiment


def test_a_row_of_a_table_comes_back_as_it_was() -> None:
    row = dict.fromkeys(schema.CELLS.names) | {"sentence": 2**40, "route": "z2u", "unmet": 3}
    assert pa.Table.from_pylist([row], schema=schema.CELLS).to_pylist() == [row]
