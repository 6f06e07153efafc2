"""The judge of the whole-model benchmark: scores of its questions without sets of tokens, kept in files.

    python benchmarks/removal_judge.py smollm2 [--questions 60] [--lattices 15]

For every method that has answered a question it runs the sets of tokens that its curves need, replaced by the
neutral token, by the mean embedding, and by random tokens of the shipped corpus, a draw for each question; a
decoder's first token is kept, and by the neutral token once more among those that may go. Of short prompts
it runs all sets. What has been run is kept in RUN/MODEL/judged/QUESTION.json, by set (a number whose bit k
stands for token k): more methods need their own sets alone, and an interrupted run goes on.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

import measure
from chain_relevances import corpus
from ligflow import Explainer
from ligflow.evaluation.removal_curves import order, removed_sets
from ligflow.evaluation.replaced_prompts import Scores, next_token_scores, similarity_scores
from ligflow.inputs.tokens import special_ids
from question_file import MODELS, RUNS, Question, read_lines, read_questions

DRAWS = ("random 0",)
PARTS = ("neutral", "mean", *DRAWS, "first")  # the last: all tokens among those that may go, neutral
ALL_SETS = 8  # players at most of a prompt of which all sets are run
Values = dict[str, dict[str, float]]  # by replacement and set


def main(
    model: Annotated[str, typer.Argument(help="smollm2, gemma or minilm.")],
    questions: Annotated[int, typer.Option(help="The first test questions, kinds in turn.")] = 60,
    lattices: Annotated[int, typer.Option(help="Of so many short prompts all sets.")] = 15,
    only: Annotated[str, typer.Option(help="What is run, with commas between.")] = ",".join(PARTS),
    runs: Annotated[Path, typer.Option(help="The folder of the run.")] = RUNS,
) -> None:
    """Run what the measures need."""
    torch.set_num_threads(1)
    folder = runs / model
    every = [each for each in read_questions(folder / "questions.jsonl") if not each.tuning][:questions]
    whole = {each.name for each in short(every)[:lattices]}
    relevances, explainer = relevances_of(folder), Explainer.from_pretrained(MODELS[model])
    for number, question in enumerate(every, 1):
        begin = time.perf_counter()
        file = folder / "judged" / f"{question.name}.json"
        values: Values = json.loads(file.read_text()) if file.exists() else {}
        known = sum(map(len, values.values()))
        wanted = sets_of(question, relevances.get(question.name, {}), question.name in whole, only.split(","))
        for replacement, sets in wanted.items():
            judge(explainer, question, replacement, sets, values.setdefault(replacement, {}))
        file.parent.mkdir(exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(values))
        part.replace(file)
        fresh, seconds = sum(map(len, values.values())) - known, time.perf_counter() - begin
        measure.note(f"{number} of {len(every)}: {question.name}, {fresh} sets, {seconds:.1f} s")


def short(questions: Iterable[Question]) -> list[Question]:
    """Those of which all sets can be run."""
    return [each for each in questions if 3 <= len(players_of(each)) <= ALL_SETS]


def players_of(question: Question, first: bool = False) -> np.ndarray:
    """The tokens that may go; with `first` all of them, special ones and a decoder's first among them."""
    if first:
        return np.arange(len(question.ids))
    free = ~np.array(question.kept)
    if question.other is None:
        free[0] = False
    return np.flatnonzero(free)


def relevances_of(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """By question and method."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for file in sorted((folder / "relevances").glob("*.jsonl")):
        for line in read_lines(file):
            found.setdefault(line["name"], {})[file.stem] = np.array(line["relevance"])
    return found


def sets_of(
    question: Question, relevances: Mapping[str, np.ndarray], whole: bool, parts: Sequence[str] = PARTS
) -> dict[str, list[np.ndarray]]:
    """The sets that a question's measures need, by replacement."""
    length = len(question.ids)
    plain = [sets for _, sets in curves(question, relevances)]
    with_first = [sets for _, sets in curves(question, relevances, first=True)]
    every = [*subsets(players_of(question), length)] if whole else []
    alone = [np.zeros((1, length), dtype=bool), np.eye(length, dtype=bool)]
    sets = {
        "neutral": [*alone, *plain, *every],
        "mean": [alone[0], *plain],
        **{draw: [alone[0], *plain, *every] for draw in DRAWS},
    }
    chosen = {name: sets[name] for name in sets if name in parts}
    if "first" in parts:
        chosen["neutral"] = [*chosen.get("neutral", alone), *with_first]
    return chosen


def curves(
    question: Question, relevances: Mapping[str, np.ndarray], first: bool = False
) -> Iterator[tuple[str, np.ndarray]]:
    """Each method's sets, `[end, share, token]`."""
    players = players_of(question, first)
    for method, relevance in relevances.items():
        yield method, removed_sets(order(relevance, players), len(question.ids))


def subsets(players: np.ndarray, length: int) -> Iterator[np.ndarray]:
    """All sets of the players, in the order of their numbers."""
    bits = (np.arange(1 << len(players))[:, None] >> np.arange(len(players))) & 1
    sets = np.zeros((len(bits), length), dtype=bool)
    sets[:, players] = bits == 1
    yield sets


def key(removed: np.ndarray) -> str:
    """The number of a set."""
    return str(sum(1 << int(token) for token in np.flatnonzero(removed)))


def judge(
    explainer: Explainer,
    question: Question,
    replacement: str,
    sets: Sequence[np.ndarray],
    known: dict[str, float],
) -> None:
    """Adds the scores of the sets that are not known."""
    each = np.unique(np.concatenate([some.reshape(-1, len(question.ids)) for some in sets]), axis=0)
    left = {name: row for row in each if (name := key(row)) not in known}
    if left:
        scores = of_question(explainer, question, replacement)(np.array([*left.values()]))
        known |= dict(zip(left, scores.tolist(), strict=True))


def of_question(explainer: Explainer, question: Question, replacement: str) -> Scores:
    """Scores of sets of removed tokens."""
    model: Any = explainer.model if question.other is not None else _whole(explainer)
    module = model.get_input_embeddings()
    ids = torch.tensor(question.ids)
    with torch.no_grad():
        vectors = torch.stack([module(ids), _instead(explainer, module, question, replacement)])
        if question.other is None:
            return _of_sets(next_token_scores(model, vectors, question.target))
        fixed = model(input_ids=torch.tensor([question.other])).last_hidden_state[0].mean(0)
    return _of_sets(similarity_scores(model, vectors, fixed))


def _of_sets(scores: Scores) -> Scores:
    return lambda removed: scores(removed.astype(np.int64))


@cache
def _whole(explainer: Explainer) -> Any:
    return explainer.whole.now().placement.model


def _instead(explainer: Explainer, module: Any, question: Question, replacement: str) -> Tensor:
    """What stands in for each token."""
    length = len(question.ids)
    if replacement == "neutral":
        return module(torch.full((length,), question.neutral))
    if replacement == "mean":
        return _mean(module).expand(length, -1)
    seed = sum(question.name.encode()) + 1000 * DRAWS.index(replacement)
    pool = _pool(explainer)
    drawn = torch.randint(len(pool), (length,), generator=torch.Generator().manual_seed(seed))
    return module(pool[drawn])


@cache
def _mean(module: Any) -> Tensor:
    """The mean embedding of the vocabulary."""
    size = module.weight.shape[0]
    parts = torch.arange(size).split(4096)
    return (torch.stack([module(ids).double().sum(0) for ids in parts]).sum(0) / size).float()


@cache
def _pool(explainer: Explainer) -> Tensor:
    """The tokens of the shipped corpus, as often as they occur."""
    tokenizer, marks = explainer.tokenizer, special_ids(explainer.tokenizer)
    return torch.tensor([n for text in corpus() for n in tokenizer(text)["input_ids"] if n not in marks])


if __name__ == "__main__":
    measure.run(main)
