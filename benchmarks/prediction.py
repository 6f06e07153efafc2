"""Why a prediction: certificates and true errors, what it costs, and plain integrated gradients beside it.

    python benchmarks/prediction.py [--prompts 100] [--truths 20] [--only accuracy,cost,answer,plain]

What is accurate, and against what, says `prediction_accuracy.py`; its rows are kept beside `--out` as
they come, so that an interrupted run goes on. Costs are CPU seconds of the process, the best of several runs
in turns.
"""

import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

import measure
import subjects
from ligflow import Explainer, Prediction
from ligflow.corpus.sources.readers import read
from ligflow.corpus.sources.sentence import Sentence
from measure import Row, note, number, text
from prediction_accuracy import TRUTH, accuracy, points
from prompts import Asked, prompts, word_salads

POINTS = (31, 63, 127, 255, 511, 1023)
TIMES = 40  # of the chain's seconds, after which no finer rule of plain integrated gradients is tried
ANSWER = (
    "The old lighthouse keeper counted the ships while the storm grew darker, and nobody else saw the light.",
    " The keeper was a man of few words, but he knew the sea better than anyone else on the",  # 20 tokens
)
TINY_ANSWER = (" ".join(subjects.WORDS[:4]), " " + " ".join(subjects.WORDS[4:7]))
COLUMNS: measure.Columns = {
    "what": text("what"),
    "reference": text("reference"),
    "prompts": number("prompts", "d"),
    "with truth": number("true_prompts", "d"),
    "T": number("tokens", ".0f"),
    "points": number("points", ".1f"),
    "certificate": number("certificate", ".1e"),
    "tokens off": number("error", ".1e"),
    "at most": number("worst", ".1e"),
    "p.error / true": number("ratio", ".2f"),
    "< 1/3": number("too_small", ".0%"),
    "> 3": number("too_large", ".0%"),
    "seconds": number("seconds"),
    "times": number("times", ".2f"),
    "GiB": number("gib", ".2f"),
}
Models = Annotated[str, typer.Option(help="Names, with commas between.")]
Only = Annotated[str, typer.Option(help="Parts, with commas between.")]
Prompts = Annotated[int, typer.Option(help="Prompts of each model, kinds in turn.")]
Truths = Annotated[int, typer.Option(help="Of so many of them the true error too.")]
Tokens = Annotated[str, typer.Option(help="Tokens of the long text, with commas between several.")]


def main(
    models: Models = "embedded:smollm2,embedded:gemma-3-270m",
    only: Only = "accuracy,cost,answer,plain,long,many",
    prompts: Prompts = 6,
    truths: Truths = 6,
    tokens: Tokens = "2048",
    device: measure.Device = "cpu",
    threads: measure.Threads = 1,
    repeats: measure.Repeats = 3,
    tiny: measure.Tiny = False,
    out: measure.Out = None,
) -> None:
    """Measure explanations of predictions on small decoders."""
    where, parts, rows = measure.place(device, threads), only.split(","), []
    kept = (out or measure.HERE / "results" / "prediction.json").with_suffix(".rows.jsonl")
    for name in ["tiny"] if tiny else models.split(","):
        explainer = loaded(name, where, torch.float32)
        if "long" in parts:  # first, while memory has not been higher
            lengths = [12] if tiny else [int(each) for each in tokens.split(",")]
            rows += [_named(name, long_text(explainer, length)) for length in lengths]
        if "cost" in parts:
            rows.append(_named(name, cost(explainer, 8 if tiny else 64, repeats)))
        if "answer" in parts:
            rows.append(_named(name, answer(explainer, *(TINY_ANSWER if tiny else ANSWER), repeats)))
        if "many" in parts:
            rows.append(_named(name, many(explainer, 2 if tiny else 64, repeats)))
        exact = cache(partial(loaded, name, where, torch.float64))
        if "plain" in parts:
            rows += [_named(name, row) for row in plain(explainer, exact(), repeats)]
        if "accuracy" in parts:
            asked = _asked(explainer, prompts, tiny)
            rows += [_named(name, row) for row in accuracy(name, explainer, exact, asked, truths, kept)]
    settings = {"prompts": prompts, "truths": truths, "truth": TRUTH, "repeats": repeats, "tiny": tiny}
    caption = (
        "accuracy: the largest certificate; points, tokens off (L1) and p.error are medians over prompts, "
        "at most: the worst prompt; < 1/3 and > 3: where p.error is too small or too large by more than a "
        "factor of 3; held out: prompts on which its rule was not set; times: over the run that is "
        "named, CPU seconds."
    )
    measure.report("prediction", out, measure.machine(where), settings, rows, COLUMNS, caption)


def _asked(explainer: Explainer, count: int, tiny: bool) -> list[Asked]:
    """So many prompts; of a model of few words, word salads."""
    if tiny:
        return word_salads(subjects.sentences(count, 10.0))
    return prompts(explainer.tokenizer, count)


def cost(explainer: Explainer, tokens: int, repeats: int) -> Row:
    """An explanation over one forward and backward of the same model, to its inputs alone."""
    inputs = first_tokens(explainer, tokens)
    ours = explainer.explain_prediction(inputs, edges=())
    seconds, once = measure.least(
        [lambda: explainer.explain_prediction(inputs, edges=()), forward_and_backward(explainer, inputs)],
        repeats,
        warm=True,
    )
    row = {
        "what": "over a forward and backward",
        "reference": "neutral",
        "tokens": tokens,
        "points": points(ours),
    }
    return row | {"seconds": seconds, "pass_seconds": once, "times": seconds / once}


def answer(explainer: Explainer, prompt: str, said: str, repeats: int) -> Row:
    """The tokens of an answer as a matrix, over the explanation of its last word alone."""
    before, last = said.rsplit(" ", 1)
    rows = explainer.explain_answer(prompt, said, edges=()).rows
    matrix, single = measure.least(
        [
            lambda: explainer.explain_answer(prompt, said, edges=()),
            lambda: explainer.explain_prediction(prompt + before, f" {last}", edges=()),
        ],
        repeats,
        warm=True,
    )
    row: Row = {"what": f"an answer of {len(rows)} tokens over its last word", "reference": "neutral"}
    row |= {"tokens": len(rows[0].tokens), "points": points(rows[-1]), "seconds": matrix}
    return row | {"single_seconds": single, "times": matrix / single}


def forward_and_backward(explainer: Explainer, inputs: dict[str, Tensor]) -> Callable[[], object]:
    """One forward and backward pass of the model, to its inputs alone."""
    model: Any = explainer.whole.now().placement.model
    embedded = model.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()

    def once() -> object:
        logits = model(inputs_embeds=embedded, logits_to_keep=1, use_cache=False).logits
        return torch.autograd.grad(logits[0, -1].log_softmax(-1).max(), embedded)

    return once


def plain(explainer: Explainer, exact: Explainer, repeats: int) -> Iterator[Row]:
    """The chain, and integrated gradients of the model as one: is it as exact, with more and more points?

    The chain is held against the truth, the others against the finest of them, whose own estimated error
    stands beside: what they are off is then rather too little, and so is what it takes.
    """
    inputs = first_tokens(explainer, 16)
    base = {"reference": "neutral", "tokens": 16}
    true = exact.explain_prediction(inputs, edges=(), tol=TRUTH)
    ours = explainer.explain_prediction(inputs, edges=())
    [seconds] = measure.least([lambda: explainer.explain_prediction(inputs, edges=())], repeats, warm=True)
    sought = _off(ours.relevance, true)
    row = {"what": "the chain", "points": points(ours), "error": sought, "seconds": seconds}
    yield base | row | {"times": 1.0}
    *flats, (finest, _) = _finer_and_finer(explainer, inputs, TIMES * seconds)
    for flat, spent in flats:
        error = _off(flat.relevance, finest)
        reached = "it is reached" if error <= sought else "not reached"
        row = {"what": f"plain, as one, {reached}", "points": points(flat), "error": error, "seconds": spent}
        yield base | row | {"times": spent / seconds, "finest": float(finest.error.sum()) / finest.scale}
        if error <= sought:
            return


def _finer_and_finer(
    explainer: Explainer, inputs: dict[str, Tensor], seconds: float
) -> list[tuple[Prediction, float]]:
    """Integrated gradients of the whole model with more and more points, and their CPU seconds."""
    every = list[tuple[Prediction, float]]()
    for limit in POINTS:
        begin = time.process_time()
        flat = explainer.explain_prediction(inputs, cut="model", edges=(), tol=1e-9, max_points=limit)
        every.append((flat, time.process_time() - begin))
        note(f"plain integrated gradients, {points(flat):.0f} points: {every[-1][1]:.0f} s")
        if len(every) > 1 and sum(spent for _, spent in every) > seconds:
            break
    return every


def long_text(explainer: Explainer, tokens: int) -> Row:
    """Time and memory of a long text, of one sentence after another of the shipped corpus."""
    text = " ".join(item.text for item in read("embedded:sentences") if isinstance(item, Sentence))
    inputs = {"input_ids": torch.tensor([explainer.tokenizer(text)["input_ids"][:tokens]])}
    begin = time.process_time()
    ours = explainer.explain_prediction(inputs, edges=())
    row = {"what": "a long text", "reference": "neutral", "tokens": tokens, "points": points(ours)}
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

    batched, single = measure.least([together, alone], 1 if count > 8 else repeats, warm=True)
    row = {"what": "together over one at a time", "reference": "neutral", "prompts": count}
    return row | {"seconds": batched, "single_seconds": single, "times": batched / single}


def _off(relevance: Tensor, true: Any) -> float:
    return float((relevance - true.relevance).abs().sum()) / true.scale


def first_tokens(explainer: Explainer, tokens: int) -> dict[str, Tensor]:
    """The first tokens of a text, said again until it is long enough."""
    ids = explainer.tokenizer(" ".join([subjects.SENTENCE] * (tokens // 40 + 1)))["input_ids"]
    return {"input_ids": torch.tensor([ids[:tokens]])}


def loaded(name: str, device: torch.device, dtype: torch.dtype) -> Explainer:
    """A model by its name, or a tiny one."""
    if name == "tiny":
        return subjects.tiny_decoder(dtype)
    return Explainer.from_pretrained(name, device=device, dtype=dtype)


def _named(name: str, row: Row) -> Row:
    return row | {"what": f"{name.removeprefix('embedded:')}, {row['what']}", "model": name}


if __name__ == "__main__":
    measure.run(main)
