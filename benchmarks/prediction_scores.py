"""What the judge's files and the methods' relevances say of each question, method by method."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from scipy.stats import spearmanr

from ligflow import Explainer
from ligflow.evaluation.all_subsets import area_over, bounds, exact_shapley, normalised
from ligflow.evaluation.known_evidence import place_over_chance, recall_over_chance, share_over_chance
from ligflow.evaluation.removal_curves import Removal, order, removal, removed_sets
from ligflow.evaluation.replaced_prompts import next_token_scores
from question_file import MODELS, RUNS, Question, read_lines, read_questions
from removal_judge import DRAWS, key, players_of, relevances_of, subsets

Row = dict[str, Any]
ALL_OF = "neutral: all tokens"  # the first and special tokens among those that may go
PATH = "The capital of France is"
WAYS = (0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1)


def scores(model: str, runs: Path = RUNS) -> pandas.DataFrame:
    """A row for each question, method and measure: question, kind, method, measure, value."""
    folder = runs / model
    relevances = relevances_of(folder)
    rows = list[Row]()
    for question in read_questions(folder / "questions.jsonl"):
        file = folder / "judged" / f"{question.name}.json"
        if file.exists() and not question.tuning:
            judged = json.loads(file.read_text())
            for method, relevance in relevances.get(question.name, {}).items():
                about = {"question": question.name, "kind": question.kind, "method": method}
                rows += [
                    about | {"measure": measure, "value": value}
                    for measure, value in measured(question, judged, relevance)
                ]
    return pandas.DataFrame(rows)


def measured(
    question: Question, judged: dict[str, dict[str, float]], relevance: np.ndarray
) -> Iterator[tuple[str, float]]:
    """The measures of one relevance; those whose sets have not been run are left out."""
    players = players_of(question)
    for name, draws in {"neutral": ("neutral",), "mean": ("mean",), "random": DRAWS}.items():
        each = [_removal(judged[draw], relevance, players) for draw in draws if draw in judged]
        known = [removed for removed in each if removed is not None]
        if len(known) == len(draws):
            yield f"{name}: between", float(np.mean([one.between for one in known]))
            yield f"{name}: comprehensiveness", float(np.mean([one.comprehensiveness for one in known]))
            yield f"{name}: sufficiency", float(np.mean([one.sufficiency for one in known]))
    whole = _removal(judged["neutral"], relevance, players_of(question, first=True))
    if whole is not None:
        yield f"{ALL_OF}: between", whole.between
    alone = [judged["neutral"]["0"] - judged["neutral"][str(1 << int(token))] for token in players]
    yield "leave-one-out: rank", _rank(relevance[players], np.array(alone))
    for name in ("neutral", DRAWS[0]):
        yield from _of_all_sets(name.split()[0], question, judged.get(name, {}), relevance)
    if question.changed is not None:
        yield "changed word: place", place_over_chance(relevance, players, question.changed)
        yield "changed word: share", share_over_chance(relevance, players, question.changed)
    if question.evidence is not None:
        yield "evidence: recall", recall_over_chance(relevance, players, np.arange(*question.evidence))


def _removal(judged: dict[str, float], relevance: np.ndarray, players: np.ndarray) -> Removal | None:
    sets = removed_sets(order(relevance, players), len(relevance))
    numbers = [[key(removed) for removed in end] for end in sets]
    if not all(number in judged for end in numbers for number in end):
        return None
    return removal(judged["0"], np.array([[judged[number] for number in end] for end in numbers]))


def _of_all_sets(
    name: str, question: Question, judged: dict[str, float], relevance: np.ndarray
) -> Iterator[tuple[str, float]]:
    """Shapley values and normalised areas, where all sets have been run."""
    players = players_of(question)
    if len(judged) < 1 << len(players):
        return
    [sets] = subsets(players, len(question.ids))
    numbers = [key(removed) for removed in sets]
    if not all(number in judged for number in numbers):
        return
    values = np.array([judged[number] for number in numbers])
    yield f"{name}: Shapley rank", _rank(relevance[players], exact_shapley(values))
    ranked = np.searchsorted(players, order(relevance, players))
    limits = bounds(values)
    most, least = (normalised(area_over(values, each), limits) for each in (ranked, ranked[::-1]))
    yield f"{name}: NAOPC comprehensiveness", most
    yield f"{name}: NAOPC sufficiency", least
    yield f"{name}: NAOPC between", most - least


def _rank(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Spearman's correlation; 0 for a relevance that says nothing, NaN for too few tokens."""
    if len(ours) < 3 or np.ptp(theirs) == 0:
        return float("nan")
    return 0.0 if np.ptp(ours) == 0 else float(spearmanr(ours, theirs).statistic)


def costs(model: str, runs: Path = RUNS) -> pandas.DataFrame:
    """CPU seconds of each method, over the questions that it has answered."""
    rows = list[Row]()
    lengths = {each.name: len(each.ids) for each in read_questions(runs / model / "questions.jsonl")}
    for file in sorted((runs / model / "relevances").glob("*.jsonl")):
        lines = [line for line in read_lines(file) if line["name"] in lengths]
        if lines:
            frame = pandas.DataFrame(lines)
            rows.append({
                "method": file.stem, "questions": len(lines),
                "tokens": float(np.mean([lengths[name] for name in frame["name"]])),
                "seconds": frame.seconds.median(),
            })  # fmt: skip
    return pandas.DataFrame(rows)


def errors(model: str, runs: Path = RUNS) -> pandas.DataFrame:
    """True errors of tokens, `Σ|R - R'| / Σ|R'|`, R' with a tolerance of 1e-5 in float64, by method."""
    relevances = relevances_of(runs / model)
    rows = list[Row]()
    for method in ("chain", "chain-3-points", "chain-7-points"):
        off = [
            float(np.abs(each[method] - each["chain-fine"]).sum() / np.abs(each["chain-fine"]).sum())
            for each in relevances.values()
            if "chain-fine" in each and method in each
        ]
        if off:
            rows.append(
                {"method": method, "questions": len(off), "median": np.median(off), "worst": max(off)}
            )
    return pandas.DataFrame(rows)


def on_a_path() -> pandas.DataFrame:
    """The score along plain integrated gradients' straight path, from the neutral token to a prompt."""
    explainer = Explainer.from_pretrained(MODELS["smollm2"])
    model: Any = explainer.whole.now().placement.model
    prediction = explainer.explain_prediction(PATH, edges=())
    ids = torch.tensor(explainer.tokenizer(PATH)["input_ids"])
    neutral = explainer.tokenizer(" ")["input_ids"][0]
    instead = torch.full_like(ids, neutral)
    instead[0] = ids[0]
    module = model.get_input_embeddings()
    ways = torch.tensor(WAYS)[:, None, None]
    with torch.no_grad():
        vectors = module(instead) + ways * (module(ids) - module(instead))
        target = int(model(input_ids=ids[None]).logits[0, -1].argmax())
    runs = np.arange(len(WAYS))[:, None].repeat(len(ids), axis=1)
    values = next_token_scores(model, vectors, target)(runs)
    share = (values - values[0]) / (values[-1] - values[0])
    assert abs(values[-1] - prediction.value) < 1e-3
    return pandas.DataFrame({"way": WAYS, "score": values, "share": share})
