"""Which sentences of a corpus."""

import collections

import pytest

from ligflow import LigflowError
from ligflow.corpus.sources.selection import select, sentences_of
from ligflow.corpus.sources.sentence import BadLine, Sentence

ITEMS = [BadLine(n, f"a:{n}", "bad") if n % 10 == 3 else Sentence(n, f"s{n}", f"a:{n}") for n in range(50)]


def test_a_range_is_of_positions() -> None:
    assert [one.number for one in select(ITEMS, 2, 6)] == [2, 3, 4, 5]
    assert [one.number for one in select(ITEMS, 47)] == [47, 48, 49]
    assert list(select(ITEMS)) == ITEMS


def test_a_sample_is_drawn_by_the_seed_alone_in_the_order_of_the_corpus() -> None:
    def drawn(seed: int) -> list[int]:
        return [one.number for one in select(ITEMS, sample=8, seed=seed) if isinstance(one, Sentence)]

    assert drawn(1) == drawn(1) == sorted(drawn(1))
    assert drawn(1) != drawn(2)
    assert len(set(drawn(1))) == 8
    bad = [one for one in select(ITEMS, sample=8, seed=1) if isinstance(one, BadLine)]
    assert len(bad) == 5


def test_a_sample_is_uniform() -> None:
    good = [one for one in ITEMS if isinstance(one, Sentence)]
    counts = collections.Counter(
        one.number for seed in range(4000) for one in select(good, sample=9, seed=seed)
    )
    expected = 4000 * 9 / len(good)
    chi = sum((counts[one.number] - expected) ** 2 / expected for one in good)
    assert chi < 80  # 44 degrees of freedom: beyond 99.9%


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"start": -1}, "start is -1"),
        ({"start": 5, "end": 5}, "the end after the start"),
        ({"sample": 0}, "sample is 0"),
        ({"sample": 46}, "A sample of 46 sentences was asked for, and there are 45"),
    ],
)
def test_selections_that_make_no_sense(kwargs: dict[str, int], message: str) -> None:
    with pytest.raises(LigflowError, match=message):
        list(select(ITEMS, **kwargs))


def test_bad_lines_end_the_reading_or_are_told() -> None:
    with pytest.raises(LigflowError, match=r"a:3: bad\. Mend the line, or leave .* with --skip-bad"):
        list(sentences_of(ITEMS, False, lambda _: None))
    told: list[BadLine] = []
    assert len(list(sentences_of(ITEMS, True, told.append))) == 45
    assert [one.number for one in told] == [3, 13, 23, 33, 43]
