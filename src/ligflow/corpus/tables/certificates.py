"""One sentence: the certificates of all integrals, a row for each target, route and baseline."""

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ligflow.corpus.tables.experiment import Variants
from ligflow.corpus.tables.schema import CELLS
from ligflow.flow import Flow
from ligflow.method.ratio_corrections import self_share


def certify(number: int, variants: Variants) -> pa.Table:
    """The rows of the cells table for sentence `number`; see `schema`."""
    return pa.concat_tables(
        _table(number, route, baseline, flow, _flipped(variants, route, baseline))
        for (route, baseline), flow in variants.items()
    )


def _table(number: int, route: str, baseline: str, flow: Flow, flipped: Tensor) -> pa.Table:
    certificate, met = _by_head(flow.certificate(route)), _by_head(flow.tensors[f"{route}.met"])
    worst = certificate.abs().argmax(dim=1, keepdim=True)
    layer, target = (axis.ravel() for axis in np.indices((len(flow.layers), len(flow.targets))))
    places = np.asarray(flow.targets, dtype=np.int32)[target]
    columns = {
        "sentence": np.full(layer.shape, number),
        "layer": np.asarray(flow.layers, dtype=np.int16)[layer],
        "target": places,
        "token": [flow.tokens[place] for place in places],
        "route": _constant(route, len(layer)),
        "baseline": _constant(baseline, len(layer)),
        "cells": np.full(layer.shape, certificate.shape[1], dtype=np.int16),
        "total": _flat(_by_head(flow.total(route)).sum(dim=1)),
        "certificate": _flat(certificate.gather(1, worst)[:, 0]),
        "estimated_error": _flat(_by_head(flow.estimated_error(route)).amax(dim=1)),
        "unmet": _flat((~met.bool()).sum(dim=1)).astype(np.int16),
        "nodes": _flat(flow.nodes(route)).astype(np.int32),
        "origin_mass": _flat(_by_head(flow.origin_mass(route)).amax(dim=1)),
        "flipped": _flat(flipped).astype(np.int16),
    }
    return pa.table(columns, schema=CELLS)


def _by_head(cells: Tensor) -> Tensor:
    """[layer, head, target], one head where the route has none."""
    return cells if cells.ndim == 3 else cells[:, None]


def _flipped(variants: Variants, route: str, baseline: str) -> Tensor:
    """How many rows of [layer, target] a self share above 1 turned the signs of."""
    flow = variants[route, baseline]
    if baseline != "itb_zero_ratio":
        return torch.zeros(len(flow.layers), len(flow.targets), dtype=torch.float32, device="cpu")
    zero = variants[route, "zero"].tensors[route]
    share = self_share(zero.movedim(-2, 0), zero.new_tensor(flow.targets, dtype=torch.int64))
    return _by_head((share > 1).movedim(0, -1)).sum(dim=1)


def _flat(cells: Tensor) -> np.ndarray:
    return cells.flatten().numpy()


def _constant(name: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, dtype=np.int8)), pa.array([name]))
