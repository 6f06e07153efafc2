"""Certificates of predictions, and their true errors beside the estimates, over prompts of several kinds.

The true error of the tokens is the L1 distance from a chain in float64 with a tolerance of 1e-6, over
`max(|change|, Σ |relevance|)`. `p.error` is within a factor of 3 of it, or too small, or too large. Its rule
was set on the first LOOKED_AT prompts of each kind: the others are held out.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kept_rows import KeptRows
from ligflow import Explainer
from ligflow.prediction.references import Random
from measure import Row
from prompts import Asked, Prompt

TRUTH = 1e-6
LOOKED_AT = 1
FACTOR = 3
_REFERENCES = ("neutral", "random", "counterfactual")


def accuracy(
    name: str,
    explainer: Explainer,
    exact: Callable[[], Explainer],
    asked: Sequence[Asked],
    truths: int,
    kept: Path,
) -> Iterator[Row]:
    """Certificates of all prompts, and true errors of the first `truths`, by reference.

    `kept` is a file of rows that are there already, and of those to come.
    """
    planned = [
        (order, reference, order < truths)
        for order, (_, _, other) in enumerate(asked)
        for reference in _REFERENCES
        if reference != "counterfactual" or other is not None
    ]
    rows = KeptRows(
        kept,
        [kind for _, _, true in planned for kind in (["explained", "true"] if true else ["explained"])],
    )
    found = [
        _measured(rows, name, explainer, exact, asked[order], reference, order, true)
        | {"held_out": turn(asked, order) >= LOOKED_AT}
        for order, reference, true in planned
    ]
    for reference in _REFERENCES:
        each = [row for row in found if row["reference"] == reference]
        if each:
            brief = [{name: row[name] for name in row if name != "relevance"} for row in each]
            yield {"what": "accuracy", "reference": reference, "each": brief} | _over(each)
    yield {"what": "accuracy, all", "reference": "all"} | _over(found)
    held = [row for row in found if row["held_out"] and "error" in row]
    if held:
        yield {"what": "accuracy, held out", "reference": "all"} | _over(held)


def turn(asked: Sequence[Asked], number: int) -> int:
    """How many prompts of its kind come before a prompt."""
    return sum(kind == asked[number][0] for kind, _, _ in asked[:number])


def _measured(
    rows: KeptRows,
    name: str,
    explainer: Explainer,
    exact: Callable[[], Explainer],
    asked: Asked,
    reference: str,
    order: int,
    true: bool,
) -> Row:
    kind, prompt, other = asked
    instead = {"neutral": "neutral", "random": Random(1, seed=order), "counterfactual": other}[reference]
    named = {"neutral": "", "random": order, "counterfactual": other and label(other)}[reference]
    of = {"model": name, "reference": reference, "prompt": label(prompt), "instead": named}
    row = rows.row("explained", of, lambda: _explained(explainer, prompt, instead))
    if true:
        beside = rows.row(
            "true", of | {"tol": TRUTH}, lambda: _explained(exact(), prompt, instead, tol=TRUTH)
        )
        row = row | _errors(row, beside)
    return {"prompt_kind": kind, "prompt": of["prompt"], "reference": reference} | row


def _explained(explainer: Explainer, prompt: Prompt, reference: Any, **options: Any) -> Row:
    begin = time.process_time()
    p = explainer.explain_prediction(prompt, reference=reference, edges=(), **options)
    return {
        "tokens": len(p.tokens), "points": points(p), "certificate": abs(p.certificate),
        "answer": p.meta["question"], "estimate": float(p.error.sum()) / p.scale, "scale": p.scale,
        "relevance": p.relevance.tolist(), "seconds": time.process_time() - begin,
    }  # fmt: skip


def _errors(row: Row, true: Row) -> Row:
    """How far off the tokens are; nothing where the more exact run has another likeliest token."""
    if row["answer"] != true["answer"]:
        return {}
    pairs = zip(row["relevance"], true["relevance"], strict=True)
    error = sum(abs(ours - theirs) for ours, theirs in pairs) / true["scale"]
    return {"error": error, "ratio": row["estimate"] / error, "truth": true["estimate"]}


def _over(each: Sequence[Row]) -> Row:
    """Medians over prompts, and the worst; what has to do with the truth, over those that have it."""
    true = [row for row in each if "error" in row]
    ratios = [row["ratio"] for row in true]
    every = {
        "prompts": len(each),
        "true_prompts": len(true),
        "certificate": max(row["certificate"] for row in each),
        **{name: statistics.median(row[name] for row in each) for name in ("tokens", "points")},
    }
    if not true:
        return every
    return every | {
        "error": statistics.median(row["error"] for row in true),
        "worst": max(row["error"] for row in true),
        "ratio": statistics.median(ratios),
        "within": sum(1 / FACTOR <= ratio <= FACTOR for ratio in ratios) / len(ratios),
        "too_small": sum(ratio < 1 / FACTOR for ratio in ratios) / len(ratios),
        "too_large": sum(ratio > FACTOR for ratio in ratios) / len(ratios),
    }


def points(prediction: Any) -> float:
    """Points a segment."""
    return statistics.mean(segment.points for segment in prediction.certificates)


def label(prompt: Prompt) -> str:
    """A prompt's text."""
    return prompt if isinstance(prompt, str) else str(prompt[0]["content"])
