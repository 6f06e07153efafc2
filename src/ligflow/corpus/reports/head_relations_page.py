"""Which heads find which syntactic relations, in words and as tables."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from ligflow.corpus.analysis.head_relations import ANY, Found, best_of_each
from ligflow.corpus.reports.markdown import plain, table
from ligflow.evaluation.verdicts import BETTER

NONE = "The corpus has no syntactic heads, so that no head can find any."
EXPLAINED = (
    "Of all words that hang from another one by a relation: is the strongest word of the dependent's row its "
    "head, or that of the head's row one of its dependents? Special tokens are no words. The offset is the "
    "fixed one that answers this question best: +1 is the next word, -1 the one before. *Over it*: the share "
    "less the offset's, with intervals that hold at once for all heads and all relations of the table (95%)."
)
_NAMED = 6  # heads that a line names; the table has all


def in_lines(rows: Sequence[Found]) -> Iterator[str]:
    """For how many questions a head is surely better than the best fixed offset, and which heads are."""
    sure = {key: [row for row in of_one if row.outcome == BETTER] for key, of_one in _by_question(rows)}
    count, heads = sum(map(bool, sure.values())), len({(row.layer, row.head) for row in rows})
    if not count:
        yield (
            f"No head of {heads} is surely better than the best fixed offset at any of {len(sure)} questions "
            "(a relation and a direction)."
        )
        return
    yield (
        f"**At {count} of {len(sure)} questions (a relation and a direction) some head is surely better than "
        "the best fixed offset**:"
    )
    for (relation, direction), better in sure.items():
        if better:
            first = sorted(better, key=lambda row: -row.share)
            named = ", ".join(
                f"layer {row.layer} head {row.head} ({row.share:.2f})" for row in first[:_NAMED]
            )
            more = f", and {len(first) - _NAMED} more (`relations.csv`)" if len(first) > _NAMED else ""
            offset = f"offset {first[0].offset:+d}: {first[0].by_offset:.2f}"
            yield f"- {_name(relation)}, {direction}: {named}{more}; {offset}"


def of_questions(rows: Sequence[Found]) -> str:
    """The best head of each question as a table, beside the best offset."""
    better = {key: sum(row.outcome == BETTER for row in of_one) for key, of_one in _by_question(rows)}
    body = [
        [
            _name(row.relation), row.direction, str(row.rows), f"{row.offset:+d}", share(row.by_offset),
            f"{row.layer}, {row.head}", share(row.share), over(row), str(better[row.relation, row.direction]),
        ]
        for row in best_of_each(rows)
    ]  # fmt: skip
    heads = [
        "relation", "direction", "rows", "offset", "share", "best head", "share", "over it",
        "heads surely over it",
    ]  # fmt: skip
    return table(heads, body)


def _by_question(rows: Sequence[Found]) -> Iterator[tuple[tuple[str, str], list[Found]]]:
    for key, of_one in groupby(rows, key=lambda row: (row.relation, row.direction)):
        yield key, list(of_one)


def _name(relation: str) -> str:
    return "any relation" if relation == ANY else f"`{plain(relation)}`"


def share(value: float) -> str:
    """Two digits, or a dash where there is none."""
    return "–" if np.isnan(value) else f"{value:.2f}"


def over(row: Found) -> str:
    """How much more than the offset's share, with its interval."""
    if np.isnan(row.over):
        return "–"
    inside = "" if np.isnan(row.over_low) else f" [{row.over_low:+.2f}, {row.over_high:+.2f}]"
    text = f"{row.over:+.2f}{inside}"
    return f"**{text}**" if row.outcome == BETTER else text
