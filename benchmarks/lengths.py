"""What a method costs by the length of the text: CPU seconds and memory of one explanation, on SmolLM2-135M.

    python benchmarks/lengths.py [--only chain,attnlrp]

The text is the first T tokens of the shipped corpus, T = 16 to 512, and the score the log-probability of the
model's own next token. Every method is run once at every length, in ascending order, one thread, up to one
beyond which it takes long (`LONGEST`); a run that does not count comes first. Memory is what the call adds at
most to the process at rest, whose model is loaded. Lines are appended, so that an interrupted run goes on;
the table goes to `results/lengths.json`.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import measure
import rivals
from call_cost import measured
from chain_relevances import corpus, method_of, write_about
from ligflow import Explainer
from ligflow.inputs.token_text import token_text
from ligflow.inputs.tokens import special_ids
from measure import Row, number, text
from question_file import (
    MODELS,
    RUNS,
    Question,
    append,
    read_lines,
    read_questions,
    unanswered,
    write_questions,
)
from questions import Subject, loaded

NAME = "lengths"
LENGTHS = (16, 32, 64, 128, 256, 512)
OURS = ("chain", "chain-3-points", "chain-layer", "leave-one-out")
RIVALS = (
    "mean-attention", "value-weighted-rollout", "alti-rollout", "flow",
    "gradient-x-input", "integrated-gradients", "attnlrp",
)  # fmt: skip
LONGEST = {"leave-one-out": 256, "flow": 64}
COLUMNS: measure.Columns = {
    "method": text("method"),
    **{f"{length} tokens, s": number(f"seconds {length}") for length in LENGTHS},
    **{f"{length} tokens, MiB": number(f"memory {length}", ".0f") for length in LENGTHS},
}


def main(
    only: Annotated[str, typer.Option(help="Methods, with commas between.")] = ",".join((*OURS, *RIVALS)),
    runs: Annotated[Path, typer.Option(help="The folder of the run.")] = RUNS,
    out: measure.Out = None,
) -> None:
    """Run what is missing, and write the table."""
    place = measure.place("cpu", 1)
    folder, chosen = runs / NAME, only.split(",")
    if unknown := set(chosen) - {*OURS, *RIVALS}:
        raise SystemExit(
            f"No methods: {', '.join(sorted(unknown))}; there are {', '.join((*OURS, *RIVALS))}."
        )
    prepare(folder, runs / "weights" / NAME)
    questions = read_questions(folder / "questions.jsonl")
    for method in chosen:
        longest = LONGEST.get(method, LENGTHS[-1])
        some = [each for each in questions if len(each.ids) <= longest]
        if method in OURS:
            explain(method, some, folder / "relevances")
        else:
            rivals.main(folder, method, len(some))
    caption = "CPU seconds of one thread, and MiB that the call adds at most. Empty: not run."
    settings = {"model": MODELS["smollm2"], "longest": LONGEST}
    measure.report(NAME, out, measure.machine(place), settings, rows(folder), COLUMNS, caption)


def prepare(folder: Path, weights: Path) -> None:
    """The questions, and the model for other environments."""
    if not (folder / "questions.jsonl").exists():
        subject = loaded("smollm2")
        write_questions(folder / "questions.jsonl", [asked(subject, length) for length in LENGTHS])
        if not weights.exists():
            model: Any = subject.explainer.whole.now().placement.model
            model.save_pretrained(weights)


def asked(subject: Subject, length: int) -> Question:
    """The first tokens of the corpus, and what the model says behind them."""
    tokenizer = subject.explainer.tokenizer
    ids = subject.ids(" ".join(corpus()))[:length]
    special = special_ids(tokenizer)
    return Question(
        f"tokens-{length:03d}", "length", ids, [token_text(tokenizer, each) for each in ids],
        subject.likeliest(ids), subject.neutral, [each in special for each in ids],
    )  # fmt: skip


def explain(method: str, questions: list[Question], folder: Path) -> None:
    """Appends a line for each question that has none; the first is answered twice, and measured once."""
    file = folder / f"{method}.jsonl"
    left = [*unanswered(questions, file)]
    if not left:
        return
    explainer = Explainer.from_pretrained(MODELS["smollm2"])
    relevance, settings = method_of(method)
    write_about(file, method, settings)
    relevance(explainer, questions[0])
    for question in left:
        values, seconds, peak = measured(partial(relevance, explainer, question))
        relevances = torch.as_tensor(values).tolist()
        append(file, {"name": question.name, "relevance": relevances, "seconds": seconds, "peak_mb": peak})
        measure.note(f"{method}: {question.name}, {seconds:.1f} s, {peak:.0f} MiB")


def rows(folder: Path) -> list[Row]:
    """Seconds and memory of each method, by length."""
    made = []
    for method in (*OURS, *RIVALS):
        row: Row = {"method": method}
        for line in read_lines(folder / "relevances" / f"{method}.jsonl"):
            length = int(line["name"].rpartition("-")[2])
            row |= {f"seconds {length}": line["seconds"], f"memory {length}": line["peak_mb"]}
        made.append(row)
    return [row for row in made if len(row) > 1]


if __name__ == "__main__":
    measure.run(main)
