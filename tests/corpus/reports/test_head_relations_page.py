"""Relations in words and as a table."""

from ligflow.corpus.analysis.head_relations import ANY, TO_HEAD, Found
from ligflow.corpus.reports.head_relations_page import in_lines, of_questions
from ligflow.evaluation.verdicts import BETTER, OPEN


def rows(outcomes: list[str]) -> list[Found]:
    """Three heads of one layer that answer two questions; the second head is best."""
    return [
        Found(
            relation, TO_HEAD, 4, head, 80, 0.6 if head == 1 else 0.5, 0.4, 0.7, -2, 0.3,
            0.3 if head == 1 else 0.2, 0.01, 0.5, outcome,
        )
        for relation in (ANY, "obj")
        for head, outcome in enumerate(outcomes if relation == "obj" else [OPEN] * 3)
    ]  # fmt: skip


def test_heads_that_are_surely_better_are_named_the_best_first() -> None:
    lines = list(in_lines(rows([BETTER, BETTER, OPEN])))
    assert lines[0].startswith("**At 1 of 2 questions (a relation and a direction) some head is surely")
    assert lines[1:] == [
        "- `obj`, dependent to head: layer 4 head 1 (0.60), layer 4 head 0 (0.50); offset -2: 0.30"
    ]


def test_none_is_said_to_be_none() -> None:
    (line,) = in_lines(rows([OPEN] * 3))
    assert line.startswith("No head of 3 is surely better than the best fixed offset at any of 2 questions")


def test_a_table_of_the_best_heads() -> None:
    lines = of_questions(rows([BETTER, BETTER, OPEN])).splitlines()
    assert lines[2].startswith("| any relation | dependent to head | 80 | -2 | 0.30 | 4, 1 | 0.60 | +0.30 [")
    assert lines[3].endswith("| 4, 1 | 0.60 | **+0.30 [+0.01, +0.50]** | 2 |")
