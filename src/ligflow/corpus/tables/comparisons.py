"""One sentence: all composed maps, and the controls, against all direct ones, row by row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ligflow.corpus.tables.experiment import Experiment, Variants
from ligflow.corpus.tables.schema import (
    ATT,
    CONTROLS,
    DIRECT,
    MAPS,
    MATCHED,
    METRIC_ROWS,
    MLP,
    PAIRS,
    RULES,
    UNITS,
    mlp_start,
)
from ligflow.evaluation.consistency import METRICS, Rows, agreement_of_rows, rows_of, shuffled_rows
from ligflow.evaluation.control_maps import heads_alike, heads_permuted, mean_row, neighbour
from ligflow.flow import Flow
from ligflow.results.grouping import Groups, words_of
from ligflow.results.join import join

_COMPOSED = [(*pair, rule) for pair in PAIRS for rule in RULES]
_CONTROLLED = [_COMPOSED.index((*MATCHED[direct], "conserving")) for direct in DIRECT]


def _others(direct: str) -> list[tuple[str | None, ...]]:
    """What is compared with a direct map, in the order of the rows: map, ATT, MLP, rule."""
    return [
        *(("composed", *names) for names in _COMPOSED),
        *(("shuffled", *names) for names in _COMPOSED),
        *((control, *MATCHED[direct], "conserving") for control in CONTROLS),
        ("attention", None, None, None),
    ]


@dataclass(frozen=True)
class _Maps:
    """All maps of a sentence; `still` marks rows that did not move, so that they share nothing out.

    `by_head` are the controls that are composed anew, of the pair whose ends match each direct map.
    """

    direct: Float[Tensor, "direct layer target source"]
    composed: Float[Tensor, "composed layer target source"]
    by_head: Float[Tensor, "direct 2 layer target source"]
    attention: Float[Tensor, "layer target source"]
    seen: Bool[Tensor, "layer target source"]
    direct_still: Bool[Tensor, "direct layer target"]
    composed_still: Bool[Tensor, "composed layer target"]


def compare(
    number: int,
    variants: Variants,
    attention: Float[Tensor, "layer head target source"],
    experiment: Experiment,
) -> pa.Table:
    """The rows of the metrics table for sentence `number`; see `schema` and `consistency`.

    A source counts where the target sees it: where some head has an attention weight above 0.
    """
    flow, tables = variants["z2z", DIRECT[0]], []
    draw = torch.Generator("cpu").manual_seed(_seed(experiment.seed, number, len(UNITS)))
    whole = _over_tokens(variants, attention, draw)
    for unit in experiment.units:
        groups, places = _groups(flow, unit, experiment.hide_special)
        if places:
            maps = _over_groups(whole, groups)
            draw = torch.Generator("cpu").manual_seed(_seed(experiment.seed, number, UNITS.index(unit)))
            for diagonal in (True, False):
                metrics, compared = _agreement(maps, diagonal, experiment.top_k, draw)
                norm = torch.where(compared, maps.direct.double(), 0.0).norm(dim=-1)
                count = compared.sum(dim=-1)
                tables.append(_table(number, unit, diagonal, metrics, norm, count, flow.layers, places))
    return pa.concat_tables(tables) if tables else METRIC_ROWS.empty_table()


def _over_tokens(variants: Variants, attention: Tensor, draw: torch.Generator) -> _Maps:
    direct = [variants["z2z", baseline] for baseline in DIRECT]
    pairs = [_pair(variants, *pair) for pair in PAIRS]
    by_head = [
        [_composed_of(flow, heads_alike(flow.u2z)), _composed_of(flow, heads_permuted(flow.u2z, draw))]
        for flow in (pairs[PAIRS.index(MATCHED[name])] for name in DIRECT)
    ]
    return _Maps(
        direct=torch.stack([flow.z2z for flow in direct]),
        composed=torch.stack([flow.composed(rule) for flow in pairs for rule in RULES]),
        by_head=torch.stack([torch.stack(controls) for controls in by_head]),
        attention=attention.mean(dim=1),
        seen=(attention > 0).any(dim=1),
        direct_still=torch.stack([_still(flow, "z2z") for flow in direct]),
        composed_still=torch.stack([_still(flow, "u2z") for flow in pairs for _ in RULES]),
    )


def _pair(variants: Variants, att: str, mlp: str) -> Flow:
    return join([variants["z2u", att], variants["u2z", mlp_start(att, mlp)]])


def _composed_of(flow: Flow, u2z: Tensor) -> Tensor:
    """The composed map, had the heads written this."""
    return replace(flow, tensors=dict(flow.tensors) | {"u2z": u2z}).composed("conserving")


def _still(flow: Flow, route: str) -> Tensor:
    """Rows whose total is rounding: their scale is not the total itself, but what rounds it."""
    return flow.total(route) < (1 - 1e-5) * flow.tensors[f"{route}.scale"]


def _groups(flow: Flow, unit: str, hide_special: bool) -> tuple[Groups, list[int]]:
    """Tokens or words, without the special ones where that is asked, and their positions."""
    eye = torch.eye(len(flow.tokens), dtype=torch.float64, device="cpu")
    groups = words_of(flow) if unit == "word" else Groups(eye, eye)
    special = groups.sources @ groups.sources.new_tensor(flow.special) > 0
    kept = (~special if hide_special else torch.ones_like(special)).nonzero()[:, 0]
    return Groups(groups.sources[kept], groups.targets[kept]), kept.tolist()


def _over_groups(maps: _Maps, groups: Groups) -> _Maps:
    """Sums over the sources of a group, means over its targets; a group is still if all of it is."""

    def still(rows: Tensor) -> Tensor:
        return rows.to(groups.targets) @ groups.targets.T > 1 - 1e-6

    return _Maps(
        groups.of(maps.direct),
        groups.of(maps.composed),
        groups.of(maps.by_head),
        groups.of(maps.attention),
        groups.of(maps.seen.double()) > 0,
        still(maps.direct_still),
        still(maps.composed_still),
    )


def _agreement(
    maps: _Maps, diagonal: bool, top_k: int, draw: torch.Generator
) -> tuple[dict[str, Tensor], Tensor]:
    """Every metric as [direct, other, layer, target], and which sources were compared."""
    size = maps.seen.shape[-1]
    own = torch.eye(size, dtype=torch.bool, device=maps.seen.device)
    compared = maps.seen if diagonal else maps.seen & ~own
    shuffled = shuffled_rows(maps.composed, compared, draw)
    every = rows_of(torch.cat([maps.composed, shuffled, maps.attention[None]]), compared, top_k)
    rows = [_of_direct(maps, place, every, compared, top_k) for place in range(len(DIRECT))]
    return {name: torch.stack([row[name] for row in rows]) for name in METRICS}, compared


def _of_direct(
    maps: _Maps, place: int, every: Rows, compared: Tensor, top_k: int
) -> dict[str, Float[Tensor, "other layer target"]]:
    """Every metric of all that is compared with one direct map; one at a time, which bounds the memory.

    `every` are the rows that all direct maps are compared with, composed and shuffled ones and the attention.
    """
    matched = maps.composed[_CONTROLLED[place]]
    controls = torch.cat(
        [maps.by_head[place], torch.stack([mean_row(matched, compared), neighbour(matched)])]
    )
    direct, own = (rows_of(part, compared, top_k) for part in (maps.direct[place], controls))
    own_still = maps.composed_still[_CONTROLLED[place]].expand(len(CONTROLS), -1, -1)
    never = torch.zeros_like(maps.composed_still[:1])
    stills = torch.cat([maps.composed_still, maps.composed_still, never]), own_still
    shared, others = (
        agreement_of_rows(direct, part, compared.sum(dim=-1), maps.direct_still[place] | still, top_k)
        for part, still in zip((every, own), stills, strict=True)
    )
    return {name: torch.cat([shared[name][:-1], others[name], shared[name][-1:]]) for name in METRICS}


def _table(
    number: int,
    unit: str,
    diagonal: bool,
    metrics: dict[str, Tensor],
    norm: Float[Tensor, "direct layer target"],
    sources: Int[Tensor, "layer target"],
    layers: Sequence[int],
    places: Sequence[int],
) -> pa.Table:
    shape = metrics["l2"].shape
    direct, other, layer, target = (axis.ravel() for axis in np.indices(shape))
    columns = {
        "sentence": pa.array(np.full(direct.shape, number)),
        "unit": _names(np.full(direct.shape, UNITS.index(unit)), UNITS),
        "layer": pa.array(np.asarray(layers, dtype=np.int16)[layer]),
        "target": pa.array(np.asarray(places, dtype=np.int32)[target]),
        "direct": _names(direct, DIRECT),
        **{
            name: _names(_codes(column, known)[direct, other], known)
            for column, (name, known) in enumerate(
                {"map": MAPS, "att": ATT, "mlp": MLP, "rule": RULES}.items()
            )
        },
        "diagonal": pa.array(np.full(direct.shape, diagonal)),
        "sources": pa.array(sources.numpy().astype(np.int32)[layer, target]),
        "norm": pa.array(norm.numpy().astype(np.float32)[direct, layer, target]),
        **{name: _nullable(metrics[name]) for name in METRICS},
    }
    return pa.table(columns, schema=METRIC_ROWS)


def _codes(column: int, known: Sequence[str]) -> Int[np.ndarray, "direct other"]:
    """The place of a column's name among the known ones, for each direct map and what it is compared with."""
    return np.array([[_index(names[column], known) for names in _others(direct)] for direct in DIRECT])


def _index(name: str | None, known: Sequence[str]) -> int:
    return -1 if name is None else known.index(name)


def _names(codes: np.ndarray, known: Sequence[str]) -> pa.DictionaryArray:
    """Names by their place among the known ones; -1 is null."""
    indices = pa.array(codes.astype(np.int8), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(known))


def _nullable(values: Tensor) -> pa.Array:
    """As float32; NaN, which is what is not defined, becomes null."""
    flat = values.flatten().numpy()
    return pa.array(flat.astype(np.float32), mask=np.isnan(flat))


def _seed(seed: int, number: int, purpose: int) -> int:
    """One for each sentence and purpose, whatever shard it is in."""
    return (seed * 1_000_003 + number) * (len(UNITS) + 1) + purpose
