"""Why a prediction: certificates and true errors, what it costs, and plain integrated gradients beside it.

    python benchmarks/prediction.py [--prompts 100] [--only accuracy,cost,plain,long,many]

The true error of the tokens is the L1 distance from a chain in float64 with a tolerance of 1e-6, over
`max(|change|, Σ |relevance|)`. Costs are CPU seconds of the process, the best of several runs in turns.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

import measure
import subjects
from ligflow import Explainer
from ligflow.prediction.references import Random
from measure import Row, note, number, text
from prompts import Asked, Prompt, prompts, word_salads

TRUTH = 1e-6
POINTS = (31, 61, 121, 241, 511)
COLUMNS: measure.Columns = {
    "what": text("what"),
    "reference": text("reference"),
    "prompts": number("prompts", "d"),
    "T": number("tokens", ".0f"),
    "points": number("points", ".1f"),
    "certificate": number("certificate", ".1e"),
    "tokens off": number("error", ".1e"),
    "at most": number("worst", ".1e"),
    "p.error / true": number("ratio", ".2f"),
    "within 3": number("within", ".0%"),
    "seconds": number("seconds"),
    "times": number("times", ".2f"),
    "GiB": number("gib", ".2f"),
}
Models = Annotated[str, typer.Option(help="Names, with commas between.")]
Only = Annotated[str, typer.Option(help="Parts, with commas between.")]
Prompts = Annotated[int, typer.Option(help="Prompts of each kind.")]
Tokens = Annotated[int, typer.Option(help="Tokens of the long text.")]


def main(
    models: Models = "embedded:smollm2,embedded:gemma-3-270m",
    only: Only = "accuracy,cost,plain,long,many",
    prompts: Prompts = 1,
    tokens: Tokens = 2048,
    device: measure.Device = "cpu",
    threads: measure.Threads = 1,
    repeats: measure.Repeats = 3,
    tiny: measure.Tiny = False,
    out: measure.Out = None,
) -> None:
    """Measure explanations of predictions on small decoders."""
    where, parts, rows = measure.place(device, threads), only.split(","), []
    for name in ["tiny"] if tiny else models.split(","):
        explainer = _loaded(name, where, torch.float32)
        if "long" in parts:  # first, while memory has not been higher
            rows.append(_named(name, long_text(explainer, 12 if tiny else tokens)))
        if "cost" in parts:
            rows.append(_named(name, cost(explainer, 8 if tiny else 64, repeats)))
        if "many" in parts:
            rows.append(_named(name, many(explainer, 2 if tiny else 64, repeats)))
        exact = _loaded(name, where, torch.float64)
        if "plain" in parts:
            rows += [_named(name, row) for row in plain(explainer, exact, repeats)]
        if "accuracy" in parts:
            asked = _asked(explainer, prompts, tiny)
            rows += [_named(name, row) for row in accuracy(explainer, exact, asked)]
    settings = {"prompts": prompts, "truth": TRUTH, "repeats": repeats, "tiny": tiny}
    caption = (
        "accuracy: the largest certificate; points, tokens off (L1) and p.error are medians over prompts, "
        "at most: the worst prompt; times: over the run that is named, CPU seconds."
    )
    measure.report("prediction", out, measure.machine(where), settings, rows, COLUMNS, caption)


def _asked(explainer: Explainer, count: int, tiny: bool) -> list[Asked]:
    """So many prompts of each kind; of a model of few words, so many word salads."""
    if tiny:
        return word_salads(subjects.sentences(count, 10.0))
    return prompts(explainer.tokenizer, count)


def accuracy(explainer: Explainer, exact: Explainer, asked: Sequence[Asked]) -> Iterator[Row]:
    """Certificates and true errors by reference, over prompts."""
    found: dict[str, list[Row]] = {}
    for order, (kind, prompt, other) in enumerate(asked):
        references = {"neutral": "neutral", "random": Random(1, seed=order), "counterfactual": other}
        for name, reference in references.items():
            if reference is not None:
                note(f"{kind}, {name}: {_label(prompt)}")
                row = {"kind": kind, "prompt": _label(prompt)} | _accuracy(
                    explainer, exact, prompt, reference
                )
                found.setdefault(name, []).append(row)
    for name, each in found.items():
        yield {"what": "accuracy", "reference": name, "prompts": len(each), "each": each} | _over(each)


def _accuracy(explainer: Explainer, exact: Explainer, prompt: Prompt, reference: Any) -> Row:
    begin = time.process_time()
    ours = explainer.explain_prediction(prompt, reference=reference, edges=())
    seconds = time.process_time() - begin
    answer = ours.meta["question"]
    true = exact.explain_prediction(prompt, reference=reference, edges=(), tol=TRUTH)
    if true.meta["question"] != answer:
        raise SystemExit(f"{_label(prompt)}: float64 answers {true.meta['question']!r}, float32 {answer!r}.")
    error = _off(ours.relevance, true)
    estimate = float(ours.error.sum()) / ours.scale
    return {
        "tokens": len(ours.tokens), "points": _points(ours), "certificate": abs(ours.certificate),
        "error": error, "estimate": estimate, "ratio": estimate / error, "seconds": seconds,
        "truth": float(true.error.sum()) / true.scale,
    }  # fmt: skip


def _over(each: Sequence[Row]) -> Row:
    """Medians over prompts, and the worst."""
    middle = {
        name: statistics.median(row[name] for row in each) for name in ("tokens", "points", "error", "ratio")
    }
    return middle | {
        "certificate": max(row["certificate"] for row in each),
        "worst": max(row["error"] for row in each),
        "within": sum(1 / 3 <= row["ratio"] <= 3 for row in each) / len(each),
    }


def cost(explainer: Explainer, tokens: int, repeats: int) -> Row:
    """An explanation over one forward and backward of the same model, to its inputs alone."""
    inputs = _of_tokens(explainer, tokens)
    ours = explainer.explain_prediction(inputs, edges=())
    seconds, once = _best(
        [lambda: explainer.explain_prediction(inputs, edges=()), _pass(explainer, inputs)], repeats
    )
    row = {
        "what": "over a forward and backward",
        "reference": "neutral",
        "tokens": tokens,
        "points": _points(ours),
    }
    return row | {"seconds": seconds, "pass_seconds": once, "times": seconds / once}


def _pass(explainer: Explainer, inputs: dict[str, Tensor]) -> Callable[[], object]:
    model: Any = explainer.whole.now().placement.model
    embedded = model.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()

    def once() -> object:
        logits = model(inputs_embeds=embedded, logits_to_keep=1, use_cache=False).logits
        return torch.autograd.grad(logits[0, -1].log_softmax(-1).max(), embedded)

    return once


def plain(explainer: Explainer, exact: Explainer, repeats: int) -> Iterator[Row]:
    """The chain, and integrated gradients of the model as one until its tokens are as exact."""
    inputs = _of_tokens(explainer, 16)
    base = {"reference": "neutral", "tokens": 16}
    true = exact.explain_prediction(inputs, edges=(), tol=TRUTH)
    ours = explainer.explain_prediction(inputs, edges=())
    [seconds] = _best([lambda: explainer.explain_prediction(inputs, edges=())], repeats)
    sought = _off(ours.relevance, true)
    yield base | {
        "what": "the chain",
        "points": _points(ours),
        "error": sought,
        "seconds": seconds,
        "times": 1.0,
    }
    note("plain integrated gradients in float64 ...")
    true = exact.explain_prediction(inputs, cut="model", edges=(), tol=TRUTH, max_points=4095)
    for points in POINTS:
        options: dict[str, Any] = {"cut": "model", "edges": (), "tol": 1e-9, "max_points": points}
        begin = time.process_time()
        flat = explainer.explain_prediction(inputs, **options)
        spent, error = time.process_time() - begin, _off(flat.relevance, true)
        row = {"what": "plain, as one", "points": _points(flat), "error": error, "seconds": spent}
        yield base | row | {"times": spent / seconds, "truth": float(true.error.sum()) / true.scale}
        if error <= sought:
            return


def long_text(explainer: Explainer, tokens: int) -> Row:
    """Time and memory of a long text."""
    inputs = _of_tokens(explainer, tokens)
    begin = time.process_time()
    ours = explainer.explain_prediction(inputs, edges=())
    row = {"what": "a long text", "reference": "neutral", "tokens": tokens, "points": _points(ours)}
    estimate = float(ours.error.sum()) / ours.scale
    row |= {
        "certificate": abs(ours.certificate),
        "estimate": estimate,
        "seconds": time.process_time() - begin,
    }
    return row | {"gib": measure.peak_memory(torch.device("cpu")) / 1024}


def many(explainer: Explainer, count: int, repeats: int) -> Row:
    """Short prompts together over one at a time."""
    texts = [subjects.sentences(1, 10.0, seed)[0] for seed in range(count)]

    def together() -> None:
        list(explainer.explain_predictions(texts, edges=()))

    def alone() -> None:
        for one in texts:
            explainer.explain_prediction(one, edges=())

    batched, single = _best([together, alone], 1 if count > 8 else repeats)
    row = {"what": "together over one at a time", "reference": "neutral", "prompts": count}
    return row | {"seconds": batched, "single_seconds": single, "times": batched / single}


def _best(runs: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """The least CPU seconds of each run, in turns."""
    turns = [[_seconds(run) for run in runs] for _ in range(repeats)]
    return [min(times) for times in zip(*turns, strict=True)]


def _seconds(run: Callable[[], object]) -> float:
    begin = time.process_time()
    run()
    return time.process_time() - begin


def _off(relevance: Tensor, true: Any) -> float:
    return float((relevance - true.relevance).abs().sum()) / true.scale


def _points(prediction: Any) -> float:
    """Points a segment."""
    return statistics.mean(segment.points for segment in prediction.certificates)


def _of_tokens(explainer: Explainer, tokens: int) -> dict[str, Tensor]:
    """The first tokens of a text, said again until it is long enough."""
    ids = explainer.tokenizer(" ".join([subjects.SENTENCE] * (tokens // 40 + 1)))["input_ids"]
    return {"input_ids": torch.tensor([ids[:tokens]])}


def _loaded(name: str, device: torch.device, dtype: torch.dtype) -> Explainer:
    if name == "tiny":
        return subjects.tiny_decoder(dtype)
    return Explainer.from_pretrained(name, device=device, dtype=dtype)


def _named(name: str, row: Row) -> Row:
    return row | {"what": f"{name.removeprefix('embedded:')}, {row['what']}", "model": name}


def _label(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else str(prompt[0]["content"])


if __name__ == "__main__":
    measure.run(main)
