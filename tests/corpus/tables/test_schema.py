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
    assert {*schema.ATT} == {*get_args(names.AttBaseline)}
    assert {*schema.MLP} == {*get_args(names.MlpBaseline)}
    assert {*schema.DIRECT} == {*get_args(names.LayerBaseline)}
    assert [from_names.att_baseline(name).name for name in schema.ATT] == list(schema.ATT)
    assert len(schema.DIRECT) * len(schema.PAIRS) == 48  # the pairs of the experiment


def test_every_direct_map_has_a_pair_whose_paths_start_and_end_where_its_own_does() -> None:
    assert schema.MATCHED == {
        "zero": ("zero", "matched"),
        "mean": ("mean", "matched"),
        "itb": ("itb", "att_itb_a0"),
        "itb_zero_ratio": ("itb_zero_ratio", "att_itb_a0"),
    }
    assert {*schema.MATCHED.values()} <= {*schema.PAIRS}


def test_matched_is_a_pair_of_its_own_where_it_starts_elsewhere_than_att_itb_a0() -> None:
    assert {pair for pair in schema.PAIRS if pair[1] == "matched"} == {
        ("zero", "matched"),
        ("mean", "matched"),
    }
    assert (
        schema.mlp_start("itb_map_ratio", "matched") == schema.mlp_start("zero", "att_itb_a0") == "att_itb_a0"
    )
    assert schema.mlp_start("mean", "matched") == "matched:mean"


def test_a_row_of_a_table_comes_back_as_it_was() -> None:
    row = dict.fromkeys(schema.CELLS.names) | {"sentence": 2**40, "route": "z2u", "unmet": 3}
    assert pa.Table.from_pylist([row], schema=schema.CELLS).to_pylist() == [row]
