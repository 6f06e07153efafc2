"""What the judge says of each method's passages: scores, standings and costs, made of what a run keeps.

| measure | formula, with `v(S)` the answer's log-probability without the passages S |
|---|---|
| fall 1, fall 3 | `v({}) - v(top)`, top the 1 or 3 highest passages, less its mean over all sets of as many |
| datamodel | Spearman's correlation over all 32 sets of `v(S)` and the sum of what S leaves |
| recall at 1 | whether the highest passage is a holder, less the share of holders |
| recall at k | the share of the k holders among the k highest, less the share of holders |

All are 0 on average for random numbers.
"""

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from scipy.stats import spearmanr

from ligflow.evaluation.removal_curves import order
from passage_templates import cases
from question_file import RUNS, Question, read_lines, read_questions
from removal_judge import relevances_of

NAME, REMOVED = "passages", "passages"
TOPS = (1, 3)
CHANCES = 100  # draws of random numbers for each question


def by_passage(question: Question, relevance: np.ndarray) -> np.ndarray:
    """Sums over each passage's tokens; numbers of passages as they are."""
    assert question.passages is not None
    if len(relevance) == len(question.passages):
        return relevance
    return np.array([relevance[first:after].sum() for first, after in question.passages])


def values_of(scores: dict[str, float], passages: int) -> np.ndarray:
    """`v(S)` of all sets of removed passages, bit k of the number for passage k."""
    return np.array([scores[str(number)] for number in range(1 << passages)])


def fall_over_chance(values: np.ndarray, relevance: np.ndarray, count: int) -> float:
    """What the score loses with the highest passages, less the mean loss with any as many."""
    places = np.arange(len(relevance))
    every = [values[_number(chosen)] for chosen in combinations(places.tolist(), count)]
    return float(np.mean(every) - values[_number(order(relevance, places)[:count])])


def datamodel_score(values: np.ndarray, relevance: np.ndarray) -> float:
    """Rank correlation over all sets of the score, and of the summed relevance of the passages that stay."""
    removed = np.arange(len(values))[:, None] >> np.arange(len(relevance)) & 1
    left = (1 - removed) @ relevance
    return 0.0 if np.ptp(relevance) == 0 else float(spearmanr(left, values).statistic)


def recall(relevance: np.ndarray, holders: list[int], count: int) -> float:
    """The share of the `count` highest that are holders, less that of all passages."""
    top = order(relevance, np.arange(len(relevance)))[:count]
    return len(np.intersect1d(top, holders)) / count - len(holders) / len(relevance)


def _number(removed: Any) -> int:
    return sum(1 << int(place) for place in removed)


def measured(question: Question, values: np.ndarray, relevance: np.ndarray) -> Iterator[tuple[str, float]]:
    """The measures of one method's numbers for one question."""
    holders = question.holders or []
    for count in TOPS:
        yield f"fall {count}", fall_over_chance(values, relevance, count)
    yield "datamodel", datamodel_score(values, relevance)
    yield "recall at 1", recall(relevance, holders, 1)
    yield "recall at k", recall(relevance, holders, len(holders))


def judged(runs: Path = RUNS) -> Iterator[tuple[Question, np.ndarray]]:
    """The questions whose sets have been run, and `v` of these."""
    folder = runs / NAME
    for question in read_questions(folder / "questions.jsonl"):
        file = folder / "judged" / f"{question.name}.json"
        if file.exists() and not question.tuning:
            yield question, values_of(json.loads(file.read_text())[REMOVED], len(question.passages or []))


def scores(runs: Path = RUNS) -> pandas.DataFrame:
    """A row for each question, method and measure, and once more under the name of its kind."""
    lines = relevances_of(runs / NAME)
    rows = list[dict[str, Any]]()
    for question, values in judged(runs):
        for method, relevance in lines.get(question.name, {}).items():
            about = {"question": question.name, "kind": question.kind, "method": method}
            for measure, value in measured(question, values, by_passage(question, relevance)):
                rows.append(about | {"measure": measure, "value": value})
                rows.append(about | {"measure": f"{question.kind}: {measure}", "value": value})
    return pandas.DataFrame(rows)


def chance(runs: Path = RUNS, draws: int = CHANCES) -> pandas.DataFrame:
    """What random numbers score on the judged questions, many draws of them: mean, and its standard error."""
    generator, rows = np.random.default_rng(0), list[tuple[str, float]]()
    for question, values in judged(runs):
        for drawn in generator.normal(size=(draws, len(question.passages or []))):
            rows += measured(question, values, drawn)
    by_measure = pandas.DataFrame(rows, columns=["measure", "value"]).groupby("measure", sort=False).value
    return pandas.DataFrame({"mean": by_measure.mean(), "error": by_measure.sem()}).reset_index()


def costs(runs: Path = RUNS) -> pandas.DataFrame:
    """How many questions each method has answered, and its median CPU seconds."""
    rows = []
    for file in sorted((runs / NAME / "relevances").glob("*.jsonl")):
        frame = pandas.DataFrame(read_lines(file))
        rows.append({"method": file.stem, "questions": len(frame), "seconds": frame.seconds.median()})
    return pandas.DataFrame(rows)


def answers(runs: Path = RUNS) -> pandas.DataFrame:
    """Of the judged questions by kind: how many, how many own sentences, `v` with and without passages."""
    planted = {case.name: case.planted for case in cases()}
    rows = []
    for question, values in judged(runs):
        own = says_more(question, planted[question.name])
        rows.append({"kind": question.kind, "own": own, "whole": values[0], "without": values[-1]})
    by_kind = pandas.DataFrame(rows).groupby("kind", as_index=False)
    return by_kind.agg(
        questions=("own", "size"), own=("own", "sum"), whole=("whole", "mean"), without=("without", "mean")
    )


def says_more(question: Question, planted: str) -> bool:
    """Whether the answer is more than the word itself, by its tokens before the last."""
    begun = question.tokens[len(question.ids) - len(question.said) + 1 :]
    return not planted.startswith("".join(begun))
