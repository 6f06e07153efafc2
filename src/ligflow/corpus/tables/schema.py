"""The tables of a run, as Arrow schemas: what each column holds.

| table | one row for |
|---|---|
| `sentences` | a sentence: explained, or left out and why |
| `metrics` | a comparison: a direct and another map of one target |
| `cells` | the integrals of one target under one baseline of one route |
"""

import pyarrow as pa

from ligflow import names
from ligflow.evaluation.consistency import METRICS
from ligflow.method.baselines import Itb
from ligflow.method.from_names import att_baseline

UNITS = tuple(names.UNITS.values())
DIRECT = ("zero", "mean", "itb", "itb_zero_ratio")
ATT = ("zero", "mean", "itb", "itb_zero_ratio", "itb_map_ratio")
MLP = ("zero", "att_itb_a0", "matched")
RULES = ("conserving", "product")
# what is compared with the direct map: a composed one, the same with its row shuffled, the controls of
# `evaluation.control_maps` for the pair whose ends are matched (conserving rule), raw attention
CONTROLS = ("heads_alike", "heads_permuted", "mean_row", "neighbour")
MAPS = ("composed", "shuffled", *CONTROLS, "attention")


def mlp_start(att: str, mlp: str) -> str:
    """Where u2z starts under a pair of baselines: `zero`, `att_itb_a0`, or `matched:` and the ATT baseline.

    Under an ATT baseline whose path is that of `itb`, `matched` is `att_itb_a0`.
    """
    if mlp != "matched":
        return mlp
    return "att_itb_a0" if att_baseline(att).path == Itb() else f"matched:{att}"


# of ATT and MLP baselines; `matched` is a pair of its own only where it is not `att_itb_a0`
PAIRS = tuple(
    (att, mlp) for att in ATT for mlp in MLP if mlp != "matched" or mlp_start(att, mlp).startswith("matched")
)
# of each direct map the pair whose paths have the same ends
MATCHED = {direct: (direct, "matched" if (direct, "matched") in PAIRS else "att_itb_a0") for direct in DIRECT}

_NAME = pa.dictionary(pa.int8(), pa.string())

CORPUS = pa.schema(
    {
        "sentence": pa.int64(),
        "text": pa.string(),
        "place": pa.string(),
        "spans": pa.list_(pa.int32()),  # begin and end of each word in turn
        "heads": pa.list_(pa.int32()),
        "relations": pa.list_(pa.string()),
        "document": pa.string(),  # null where the corpus does not tell
        "genre": pa.string(),
    }
)
SENTENCES = pa.schema(
    {
        "sentence": pa.int64(),
        "place": pa.string(),
        "tokens": pa.int32(),  # null where it was left out
        "left_out": pa.string(),  # the reason; null where it was explained
    }
)
METRIC_ROWS = pa.schema(
    {
        "sentence": pa.int64(),
        "unit": _NAME,
        "layer": pa.int16(),
        "target": pa.int32(),  # position among the sentence's tokens, or words
        "direct": _NAME,  # layer baseline of the direct map
        "map": _NAME,
        "att": _NAME,  # ATT baseline; null for raw attention, which is the same for all pairs
        "mlp": _NAME,
        "rule": _NAME,
        "diagonal": pa.bool_(),  # whether the target itself is compared as a source
        "sources": pa.int32(),  # how many sources are compared: those that the target sees
        "norm": pa.float32(),  # of the direct row over the sources that are compared, ||d||
        # null where a metric is not defined, e.g. the correlation with a row of equal values
        **{metric: pa.float32() for metric in METRICS},
    }
)
CELLS = pa.schema(
    {
        "sentence": pa.int64(),
        "layer": pa.int16(),
        "target": pa.int32(),  # position among the sentence's tokens
        "token": pa.string(),
        "route": _NAME,
        "baseline": _NAME,  # of u2z as `mlp_start` names it
        "cells": pa.int16(),  # how many integrals: heads for z2u, else 1
        "total": pa.float32(),  # their sum
        "certificate": pa.float32(),  # the one with the largest magnitude among them
        "estimated_error": pa.float32(),  # the largest
        "unmet": pa.int16(),  # how many miss the tolerance
        "nodes": pa.int32(),
        "origin_mass": pa.float32(),  # the largest
        "flipped": pa.int16(),  # rows that a ratio's self share above 1 turned the signs of
    }
)
TABLES = {"sentences": SENTENCES, "metrics": METRIC_ROWS, "cells": CELLS}
