"""Questions of the whole-model benchmark and what methods answer, in files that grow a line at a time.

    RUN/MODEL/questions.jsonl             what is asked of a model, one question a line
    RUN/MODEL/relevances/METHOD.jsonl     what a method gives to each token, one question a line
    RUN/MODEL/relevances/METHOD.json      its package, version and settings
    RUN/weights/MODEL                     the model and its tokenizer, as other environments load them

Questions stand in turns of their kinds, so that the first ones of a file are balanced over kinds. It needs
nothing but Python, so that environments of other packages can import it.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RUNS = Path(__file__).parent.parent / "runs" / "prediction-faithfulness"
MODELS = {"smollm2": "embedded:smollm2", "gemma": "embedded:gemma-3-270m", "minilm": "embedded:minilm"}
TUNING = 5  # each fifth question of a kind is for trying things out, and stands in no table


@dataclass(frozen=True)
class Question:
    """What is asked: the log-probability of `target` after `ids`, or the cosine with `other`.

    `neutral` is the token that says least; `kept` marks special tokens. In `counterfactual` the word at
    `changed` is another one, and so is the answer. `evidence` is where the answer stands, [first, after).
    An `answer` of several tokens, the last of which is `target`, ends `ids` but for that one, and its score
    is the log-probability of all of them. `passages` are places, [first, after); `holders` say the answer.
    """

    name: str
    kind: str
    ids: list[int]
    tokens: list[str]
    target: int
    neutral: int
    kept: list[bool]
    contrast: int | None = None
    changed: int | None = None
    counterfactual: list[int] | None = None
    evidence: list[int] | None = None
    other: list[int] | None = None
    answer: list[int] | None = None
    passages: list[list[int]] | None = None
    holders: list[int] | None = None

    @property
    def tuning(self) -> bool:
        """Whether it is one of those that things may be tried out on."""
        return int(self.name.rpartition("-")[2]) % TUNING == 0

    @property
    def said(self) -> list[int]:
        """The tokens whose log-probabilities are the score."""
        return self.answer or [self.target]


def write_questions(path: Path, questions: Iterable[Question]) -> None:
    """One a line, under a temporary name that is then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(asdict(question)) + "\n" for question in questions))
    part.replace(path)


def read_questions(path: Path) -> list[Question]:
    """The questions of a file."""
    return [Question(**json.loads(line)) for line in path.read_text().splitlines()]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file that grows; one that is cut short is taken off it."""
    if not path.exists():
        return []
    whole, _, rest = path.read_text().rpartition("\n")
    if rest:
        path.write_text(whole + "\n" if whole else "")
    return [json.loads(line) for line in whole.splitlines()]


def unanswered(questions: Iterable[Question], path: Path) -> Iterator[Question]:
    """The questions that a method's file has no line of yet."""
    names = {line["name"] for line in read_lines(path)}
    return (question for question in questions if question.name not in names)


def append(path: Path, line: dict[str, Any]) -> None:
    """Adds a line to a file that grows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
