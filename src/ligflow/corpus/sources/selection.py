"""Which items of a corpus: a range of positions, a random sample; and what to do with bad lines."""

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.sources.sentence import BadLine, Sentence
from ligflow.errors import LigflowError

Kind = TypeVar("Kind", Sentence, Prompt)


def select(
    items: Iterable[Kind | BadLine],
    start: int = 0,
    end: int | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> Iterator[Kind | BadLine]:
    """Positions `start` to before `end`, and of these `sample` sentences drawn without replacement.

    The draw depends on the seed and the corpus alone, keeps only the sample in memory (algorithm R
    [vitter1985]), and comes in the order of the corpus; bad lines are passed on before it. Raises
    LigflowError for positions that make no sense, and for a sample of more sentences than there are.
    """
    if start < 0 or (end is not None and end <= start):
        raise LigflowError(
            f"start is {start} and end is {end}; give positions from 0, the end after the start."
        )
    if sample is not None and sample < 1:
        raise LigflowError(f"sample is {sample}; give a whole number of sentences from 1.")
    chosen = islice(items, start, end)
    return chosen if sample is None else _drawn(chosen, sample, random.Random(seed))


def _drawn(items: Iterable[Kind | BadLine], size: int, draw: random.Random) -> Iterator[Kind | BadLine]:
    kept: list[Kind] = []
    count = 0
    for item in items:
        if isinstance(item, BadLine):
            yield item
            continue
        count += 1
        if len(kept) < size:
            kept.append(item)
        elif (place := draw.randrange(count)) < size:
            kept[place] = item
    if count < size:
        raise LigflowError(f"A sample of {size} sentences was asked for, and there are {count}.")
    yield from sorted(kept, key=lambda sentence: sentence.number)


def sentences_of(
    items: Iterable[Kind | BadLine], skip_bad: bool, report: Callable[[BadLine], None]
) -> Iterator[Kind]:
    """The sentences; with `skip_bad`, `report` hears of each bad line, else the first raises LigflowError."""
    for item in items:
        if not isinstance(item, BadLine):
            yield item
        elif skip_bad:
            report(item)
        else:
            raise LigflowError(
                f"{item.place}: {item.problem}. Mend the line, or leave such lines out with --skip-bad."
            )
