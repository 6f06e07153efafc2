"""What explanations of predictions give to each token of the benchmark's questions, and leave-one-out.

    python benchmarks/chain_relevances.py smollm2 [chain,leave-one-out,...] [--questions 60]

`chain` is the one that stands beside the rivals: `explain_prediction` at its defaults, named before any run.
All others say what its settings do. Lines are appended, so that an interrupted run goes on. Times are CPU
seconds of the process, memory its highest since it began, the model among it.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import measure
from ligflow import Explainer, __version__
from ligflow.corpus.sources.readers import read
from ligflow.corpus.sources.sentence import Sentence
from ligflow.prediction.references import Random
from question_file import MODELS, RUNS, Question, append, read_questions, unanswered

Relevance = Callable[[Explainer, Question], Sequence[float]]


@dataclass(frozen=True)
class Chain:
    """One setting of explanations: options, and what is said of them."""

    settings: str
    options: Mapping[str, Any] = field(default_factory=dict)
    first: bool = False  # whether a decoder's first token is replaced too
    corpus: bool = False  # whether the reference is of the corpus' tokens
    exact: bool = False


CHAINS = {
    "chain": Chain("defaults: reference neutral, cut modules, attention moved, tol 1e-3"),
    "chain-layer": Chain("cut layer", {"cut": "layer"}),
    "chain-model": Chain("cut model: integrated gradients of the model as one", {"cut": "model"}),
    "chain-held": Chain("attention held", {"attention": "held"}),
    "chain-mean": Chain("reference mean", {"reference": "mean"}),
    "chain-random": Chain("reference: 3 times random tokens of the shipped corpus", corpus=True),
    "chain-3-points": Chain("3 points for every segment", {"points": 3}),
    "chain-7-points": Chain("7 points for every segment", {"points": 7}),
    "chain-first": Chain("the first token is replaced too", first=True),
    "chain-fine": Chain("tol 1e-5 in float64, as the truth", {"tol": 1e-5}, exact=True),
}
LEAVE_ONE_OUT = "leave-one-out"
METHODS = (*CHAINS, LEAVE_ONE_OUT)


def main(
    model: Annotated[str, typer.Argument(help="smollm2, gemma or minilm.")],
    methods: Annotated[str, typer.Argument(help="Names, with commas between.")] = "chain,leave-one-out",
    questions: Annotated[int, typer.Option(help="The first test questions, kinds in turn.")] = 60,
    runs: Annotated[Path, typer.Option(help="The folder of the run.")] = RUNS,
    tuning: Annotated[bool, typer.Option("--tuning", help="Questions of the other part.")] = False,
) -> None:
    """Write relevances of a model's questions."""
    torch.set_num_threads(1)
    every = [each for each in read_questions(runs / model / "questions.jsonl") if each.tuning == tuning]
    explainers: dict[torch.dtype, Explainer] = {}
    for method in methods.split(","):
        precision = torch.float64 if method in CHAINS and CHAINS[method].exact else torch.float32
        if precision not in explainers:
            explainers[precision] = Explainer.from_pretrained(MODELS[model], dtype=precision)
        answer(explainers[precision], method, every[:questions], runs / model / "relevances")


def answer(explainer: Explainer, method: str, questions: Sequence[Question], folder: Path) -> None:
    """Appends a line for each question that has none; the first is answered twice, and timed once."""
    relevance, settings = method_of(method)
    file = folder / f"{method}.jsonl"
    left = [*unanswered(questions, file)]
    write_about(file, method, settings)
    for number, question in enumerate(left):
        if not number:
            relevance(explainer, question)
        begin = time.process_time()
        values = [float(value) for value in relevance(explainer, question)]
        seconds = time.process_time() - begin
        peak = measure.peak_memory(torch.device("cpu"))
        append(file, {"name": question.name, "relevance": values, "seconds": seconds, "peak_mb": peak})
        measure.note(f"{method}: {number + 1} of {len(left)}, {seconds:.1f} s")


def write_about(file: Path, method: str, settings: str) -> None:
    """What a method of this package is, beside its relevances."""
    about = {"method": method, "package": "ligflow", "version": __version__, "settings": settings}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".json").write_text(json.dumps(about | {"source": "this package"}, indent=1) + "\n")


def method_of(name: str) -> tuple[Relevance, str]:
    """A method's function and its settings in words."""
    if name == LEAVE_ONE_OUT:
        return leave_one_out, "each token replaced by the neutral one, by the score's own fall"
    if name not in CHAINS:
        raise SystemExit(f"Unknown method {name!r}; choose from {', '.join(METHODS)}.")
    return partial(_explained, CHAINS[name]), CHAINS[name].settings


def _explained(chain: Chain, explainer: Explainer, question: Question) -> Sequence[float]:
    """The relevance of one explanation; special tokens have 0."""
    inputs = {"input_ids": torch.tensor([question.ids])}
    options: dict[str, Any] = {"edges": ()} | dict(chain.options)
    if chain.corpus:
        options["reference"] = Random(3, corpus=corpus())
    if question.other is not None:
        other = {"input_ids": torch.tensor([question.other])}
        similarity = explainer.explain_similarity(inputs, other, **options)
        return list(similarity.text.relevance.tolist())
    if chain.first:
        options["on"] = [place for place, kept in enumerate(question.kept) if not kept]
    prediction = explainer.explain_prediction(inputs, answer=question.target, **options)
    return list(prediction.relevance.tolist())


def corpus() -> tuple[str, ...]:
    """The shipped sentences, of which random tokens are drawn."""
    return tuple(item.text for item in read("embedded:sentences") if isinstance(item, Sentence))


def leave_one_out(explainer: Explainer, question: Question) -> Sequence[float]:
    """`v({}) - v({k})`: T + 1 runs of the model, as a batch."""
    from removal_judge import of_question  # what the judge runs, on other sets

    scores = of_question(explainer, question, "neutral")
    length = len(question.ids)
    values = scores(torch.cat([torch.zeros(1, length), torch.eye(length)]).bool().numpy())
    return [float(values[0] - value) for value in values[1:]]


if __name__ == "__main__":
    measure.run(main)
