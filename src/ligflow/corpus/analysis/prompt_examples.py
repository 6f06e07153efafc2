"""Prompts at the ends: of largest and smallest change, and those to which a component gives most."""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.compute as pc

from ligflow.corpus.analysis.prompt_components import Component, components_of, of_shards, places
from ligflow.corpus.runs.store import Run
from ligflow.corpus.sources.prompt import Prompt

AT_EACH_END = 2


@dataclass(frozen=True)
class Example:
    """A prompt to which a component gives much: its share, and what it contributes at each token."""

    prompt: int
    share: float
    relevance: tuple[float, ...]


def explained(run: Run) -> pandas.DataFrame:
    """The rows of all prompts that were explained, with their texts."""
    frames = [pandas.DataFrame(columns=[*run.kind.tables["prompts"].names, "text"])]
    for shard in run.done:
        frame = run.table(shard, "prompts").to_pandas()
        text = {prompt.number: prompt.text for prompt in run.items(shard)}
        frames.append(frame.assign(text=frame.prompt.map(text))[frame.left_out.isna()])
    return pandas.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def extremes(prompts: pandas.DataFrame, count: int = 3) -> Mapping[str, pandas.DataFrame]:
    """The prompts at the ends, by what they are at the end of."""
    ends = {
        "most for the answer": prompts.sort_values("change", ascending=False),
        "most against it": prompts[prompts.change < 0].sort_values("change"),
        "largest certificates": prompts.sort_values("certificate", key=abs, ascending=False),
    }
    return {name: frame.head(count) for name, frame in ends.items()}


def examples(run: Run, count: int = AT_EACH_END) -> Mapping[Component, list[Example]]:
    """Of each component the prompts with its `count` largest and smallest shares, from the largest down.

    Reads the run twice: all shards for the shares, then those that hold an example.
    """
    largest: dict[Component, list[tuple[float, int]]] = {}
    smallest: dict[Component, list[tuple[float, int]]] = {}
    for shard in of_shards(run):
        for at, part in enumerate(shard.components):
            pairs = list(zip(shard.share[:, at].tolist(), shard.prompts, strict=True))
            largest[part] = heapq.nlargest(count, [*largest.get(part, []), *pairs])
            smallest[part] = heapq.nsmallest(count, [*smallest.get(part, []), *pairs])
    chosen = {part: sorted({*pairs, *smallest[part]}, reverse=True) for part, pairs in largest.items()}
    values = _values(run, {(part, number) for part, pairs in chosen.items() for _, number in pairs})
    return {
        part: [Example(number, share, values[part, number]) for share, number in pairs]
        for part, pairs in chosen.items()
    }


def _values(
    run: Run, wanted: Iterable[tuple[Component, int]]
) -> dict[tuple[Component, int], tuple[float, ...]]:
    """What components contribute at each token of prompts."""
    pairs = {*wanted}
    values: dict[tuple[Component, int], tuple[float, ...]] = {}
    for shard, table in _tables(run, "components", {number for _, number in pairs}):
        parts = components_of(table)
        number, place = table["prompt"].to_numpy(), places(run, shard, table, parts)
        known = {part: at for at, part in enumerate(parts)}
        codes = [own * len(parts) + known[part] for part, own in pairs if part in known]
        code = number * len(parts) + place
        rows = np.flatnonzero(np.isin(code, codes))
        rows = rows[np.lexsort((table["position"].to_numpy()[rows], code[rows]))]
        firsts = np.flatnonzero(np.diff(code[rows], prepend=-1))
        for run_of_rows in np.split(rows, firsts[1:]):
            first = run_of_rows[0]
            of_pair = tuple(table["relevance"].to_numpy()[run_of_rows].tolist())
            values[parts[place[first]], int(number[first])] = of_pair
    return values


def _tables(run: Run, name: str, numbers: set[int]) -> Iterator[tuple[int, pa.Table]]:
    """The rows of some prompts, by the shards that hold them."""
    for shard in run.done:
        table = run.table(shard, name)
        rows = table.filter(pc.is_in(table["prompt"], pa.array(sorted(numbers), pa.int64())))
        if rows.num_rows:
            yield shard, rows


def labels(run: Run, numbers: set[int]) -> dict[int, list[str]]:
    """The tokens of some prompts."""
    return {
        int(number): [str(token) for token in rows.sort_values("position").token]
        for _, table in _tables(run, "tokens", numbers)
        for number, rows in table.to_pandas().groupby("prompt")
    }


def prompts_of(run: Run, numbers: Sequence[int]) -> list[Prompt]:
    """Some prompts as they were planned, in the order of their numbers."""
    every = (prompt for shard in run.done for prompt in run.items(shard))
    return [prompt for prompt in every if prompt.number in set(numbers)]
