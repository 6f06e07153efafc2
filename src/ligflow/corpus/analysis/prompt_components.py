"""What heads and MLPs contribute to each prompt of a run, summed over tokens, a shard at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from ligflow.corpus.runs.store import Run
from ligflow.corpus.tables.kinds import PREDICTIONS
from ligflow.errors import LigflowError

KINDS = ("head", "cross-head", "mlp")


@dataclass(frozen=True)
class Component:
    """A head, a head that reads an encoder (`cross-head`), or an MLP (without a number)."""

    kind: str
    layer: int
    head: int | None

    @property
    def name(self) -> str:
        """As it is called on screens."""
        if self.head is None:
            return f"layer {self.layer}, MLP"
        return f"layer {self.layer}, {self.kind.replace('-', ' ')} {self.head}"


@dataclass(frozen=True, eq=False)
class OfShard:
    """The explained prompts of a shard, by their numbers, with their groups, and each component of each.

    `relevance` is what a component contributes to a prompt, over all tokens, `share` the same relative to the
    prompt's scale; `magnitude` sums without signs, and `at_last` without signs at the last token.
    """

    components: tuple[Component, ...]
    prompts: Sequence[int]
    groups: Sequence[str | None]
    relevance: Float[np.ndarray, "prompt component"]
    share: Float[np.ndarray, "prompt component"]
    magnitude: Float[np.ndarray, "prompt component"]
    at_last: Float[np.ndarray, "prompt component"]


def of_shards(run: Run) -> Iterator[OfShard]:
    """The finished shards that hold an explained prompt.

    Raises LigflowError for a run on sentences, a damaged shard, and one with other components.
    """
    run.check_kind(PREDICTIONS)
    components: tuple[Component, ...] = ()
    for shard in run.done:
        rows = [row for row in run.table(shard, "prompts").to_pylist() if row["left_out"] is None]
        if not rows:
            continue
        table = run.table(shard, "components")
        components = components or components_of(table)
        numbers = np.array([row["prompt"] for row in rows])
        line = np.searchsorted(numbers, table["prompt"].to_numpy()) * len(components)
        line = line + places(run, shard, table, components)
        value = table["relevance"].to_numpy()
        last = dict(zip(numbers.tolist(), (row["tokens"] - 1 for row in rows), strict=True))
        end = np.array([last[number] for number in table["prompt"].to_pylist()])
        at_end = np.abs(value) * (table["position"].to_numpy() == end)
        relevance, magnitude, at_last = (
            np.bincount(line, weights=of, minlength=len(rows) * len(components)).reshape(len(rows), -1)
            for of in (value, np.abs(value), at_end)
        )
        scale = np.array([row["scale"] for row in rows])
        groups = [row["group"] for row in rows]
        yield OfShard(
            components, numbers.tolist(), groups, relevance, relevance / scale[:, None], magnitude, at_last
        )


def components_of(table: pa.Table) -> tuple[Component, ...]:
    """The components of a table, heads before MLPs, from the first layer."""
    kinds = table.group_by(["kind", "layer", "head"]).aggregate([]).to_pylist()
    every = [Component(row["kind"], row["layer"], row["head"]) for row in kinds]
    return tuple(sorted(every, key=_order))


def _order(part: Component) -> tuple[int, int, int]:
    return KINDS.index(part.kind), part.layer, -1 if part.head is None else part.head


def places(run: Run, shard: int, table: pa.Table, components: Sequence[Component]) -> np.ndarray:
    """The place of each row's component. Raises LigflowError for one that is not among them."""
    width = 2 + max((part.head or 0 for part in components), default=0)
    depth = 1 + max(part.layer for part in components)
    known = np.array([_code(_order(part), depth, width) for part in components])
    kind = table["kind"].to_pandas().cat.set_categories(list(KINDS)).cat.codes.to_numpy().astype(np.int64)
    head = table["head"].fill_null(-1).to_numpy().astype(np.int64)
    code = _code((kind, table["layer"].to_numpy().astype(np.int64), head), depth, width)
    place = np.minimum(np.searchsorted(known, code), len(known) - 1)
    if not np.array_equal(known[place], code):
        raise LigflowError(
            f"Shard {shard} of {str(run.folder)!r} has heads or layers that the first has not: it is of "
            "another model. Compute the run anew in another folder."
        )
    return place


def _code(order: tuple[int, int, int] | tuple[np.ndarray, ...], depth: int, width: int) -> np.ndarray:
    kind, layer, head = order
    return np.asarray((kind * depth + layer) * width + head + 1)
