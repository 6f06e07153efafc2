"""The measures of passages on games whose answer is known, and the cases that are asked."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from benchmark_scripts import loaded

NAMES = (
    "passage_scores",
    "passage_templates",
    "question_file",
    "removal_judge",
    "chain_relevances",
    "measure",
)
WORTH = np.array([2.0, 0.5, -1.0, 4.0, 1.0])
SETS = (np.arange(32)[:, None] >> np.arange(5)) & 1


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch, no_shape_checks: None) -> Iterator[dict[str, ModuleType]]:
    with loaded(NAMES, monkeypatch) as modules:
        yield modules


def test_of_a_sum_the_worth_of_its_parts_is_right_in_all_measures(scripts: dict[str, ModuleType]) -> None:
    """`v(S) = 3 + Σ worth of what stays`: removing passage 3 costs 4, any one 1.3 on average."""
    measure, values = scripts["passage_scores"], 3 + (1 - SETS) @ WORTH
    assert measure.fall_over_chance(values, WORTH, 1) == pytest.approx(4 - 1.3)
    assert measure.fall_over_chance(values, WORTH, 3) == pytest.approx(7 - 3 * 1.3)
    assert measure.fall_over_chance(values, -WORTH, 1) == pytest.approx(-1 - 1.3)
    assert measure.datamodel_score(values, WORTH) == pytest.approx(1)
    assert measure.datamodel_score(values, -WORTH) == pytest.approx(-1)
    assert measure.datamodel_score(values, np.zeros(5)) == 0


def test_of_two_holders_where_either_is_enough(scripts: dict[str, ModuleType]) -> None:
    """Leaving one out costs nothing, so that its order is that of ties, 4 and 3 first; both cost 5."""
    measure = scripts["passage_scores"]
    values = 5.0 * np.maximum(1 - SETS[:, 0], 1 - SETS[:, 2])
    both, alone = (
        np.array([1.0, 0, 1, 0, 0]),
        np.array([values[0] - values[1 << place] for place in range(5)]),
    )
    assert not alone.any()
    assert measure.fall_over_chance(values, both, 1) == 0
    of_three = 3 / 10  # of the sets of three, those that hold both
    assert measure.fall_over_chance(values, both, 3) == pytest.approx(5 - 5 * of_three)
    assert measure.recall(both, [0, 2], 1) == pytest.approx(1 - 2 / 5)
    assert measure.recall(both, [0, 2], 2) == pytest.approx(1 - 2 / 5)
    assert measure.recall(alone, [0, 2], 2) == pytest.approx(-2 / 5)


def test_random_numbers_score_zero(scripts: dict[str, ModuleType]) -> None:
    generator = np.random.default_rng(0)
    question = scripts["question_file"].Question(
        "made-001", "one holder", [1], ["a"], 2, 3, [False], passages=[[0, 1]] * 5, holders=[1]
    )
    values = generator.normal(size=32)
    drawn = [
        dict(scripts["passage_scores"].measured(question, values, generator.normal(size=5)))
        for _ in range(500)
    ]
    for name in drawn[0]:
        every = np.array([each[name] for each in drawn])
        assert abs(every.mean()) < 4 * every.std() / np.sqrt(len(every)), name


def test_relevance_of_tokens_is_summed_over_passages(scripts: dict[str, ModuleType]) -> None:
    question = scripts["question_file"].Question(
        "made-001",
        "one holder",
        [1] * 6,
        ["a"] * 6,
        2,
        3,
        [False] * 6,
        passages=[[1, 3], [4, 6]],
        holders=[1],
    )
    by_passage = scripts["passage_scores"].by_passage
    assert by_passage(question, np.array([9.0, 1, 2, 9, 3, 4])).tolist() == [3, 7]
    assert by_passage(question, np.array([5.0, 6.0])).tolist() == [5, 6]


def test_whether_an_answer_says_more_than_the_word(scripts: dict[str, ModuleType]) -> None:
    says_more, made = scripts["passage_scores"].says_more, scripts["question_file"].Question
    of = {"kind": "one holder", "target": 2, "neutral": 3, "kept": []}
    asked = made("a-1", ids=[1, 4, 5], tokens=["?", "C", "ai"], answer=[4, 5, 2], **of)
    assert not says_more(asked, "Cairo")
    assert says_more(asked, "Riga")
    assert not says_more(made("a-1", ids=[1], tokens=["?"], answer=[2], **of), "Cairo")


def test_cases_hold_their_answer_where_they_say(scripts: dict[str, ModuleType]) -> None:
    every = scripts["passage_templates"].cases()
    assert every == scripts["passage_templates"].cases()
    assert len({(case.question, case.passages) for case in every}) == len(every) >= 125
    for case in every:
        assert len(case.passages) == 5
        assert len(case.holders) == (1 if case.kind == "one holder" else 2)
        holding = [place for place, text in enumerate(case.passages) if case.planted in text]
        assert holding == [*case.holders]
        asked = words(case.question)
        shares = [
            bool(words(text) & asked) for place, text in enumerate(case.passages) if place not in case.holders
        ]
        assert any(shares), case


def words(text: str) -> set[str]:
    return {word.strip("?.").lower() for word in text.split()} - {"the", "mr", "mrs", "of"}
