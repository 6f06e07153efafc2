"""Which passage an answer rests on: questions with passages to SmolLM2-135M-Instruct, and what methods say.

    python benchmarks/passages.py [--count 100]

What is explained is the log-probability of an answer: the model's own (its likeliest token each time) up to
the word that answers, where that comes within 12 tokens, else this word, taught. `chain` is
`explain_prediction` at its defaults, named before any run: passages replaced by the neutral token, the
question kept, relevance summed over each. The rivals are ContextCite by its own package
(`workers/of_contextcite.py`, which is the judge too), AttnLRP, attention and random numbers (`rivals.py`).
Lines are appended, so that an interrupted run goes on.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import measure
import rivals
from chain_relevances import write_about
from ligflow import Explainer, Passages
from ligflow.inputs.passages import encode_passages
from ligflow.inputs.token_text import token_text
from ligflow.inputs.tokens import special_ids
from ligflow.prediction.replaced import tokens_in
from passage_templates import PassageCase, cases
from question_file import MODELS, RUNS, Question, append, read_questions, unanswered, write_questions
from questions import neutral_of

NAME = "passages"
MODEL = MODELS["smollm2"]
CLOSE = 1e-3  # of log-probabilities
WITHIN = 12  # tokens of the model's own answer
CHAINS: dict[str, tuple[str, dict[str, Any]]] = {
    "chain": ("defaults: passages replaced by the neutral token, the question kept; sums over passages", {}),
}
OTHERS = "random,mean-attention,last-attention,attnlrp,attnlrp-logprob"


def main(
    count: Annotated[int, typer.Option(help="The first test questions, one and two holders in turn.")] = 100,
    runs: Annotated[Path, typer.Option(help="The folder of the run.")] = RUNS,
) -> None:
    """Run what is missing of every method."""
    torch.set_num_threads(1)
    folder, weights = runs / NAME, runs / "weights" / NAME
    explainer = Explainer.from_pretrained(MODEL)
    if not (folder / "questions.jsonl").exists():
        write_questions(folder / "questions.jsonl", asked(explainer, cases()))
    if not weights.exists():
        whole(explainer).save_pretrained(weights)
        explainer.tokenizer.save_pretrained(weights)
    rivals.write_outputs(weights)
    questions = [each for each in read_questions(folder / "questions.jsonl") if not each.tuning][:count]
    for method in CHAINS:
        explain(explainer, method, questions, folder / "relevances")
    rivals.main(folder, OTHERS, count)
    rivals.run("contextcite", rivals.Package(("contextcite",)), [folder, weights, str(count)])


def asked(explainer: Explainer, every: Sequence[PassageCase]) -> Iterator[Question]:
    """The cases in the model's tokens."""
    tokenizer, neutral = explainer.tokenizer, neutral_of(explainer)
    special = special_ids(tokenizer)
    for case in every:
        inputs, tokens = encode_passages(tokenizer, Passages(case.question, case.passages), None, False)
        prompt = inputs["input_ids"][0].tolist()
        answer = own_answer(explainer, prompt, case.planted) or taught(tokenizer, case.planted)
        ids = [*prompt, *answer[:-1]]
        places = [tokens_in(tokens, span) for _, span in tokens.passages]
        yield Question(
            case.name, case.kind, ids, [token_text(tokenizer, number) for number in ids], answer[-1], neutral,
            [number in special for number in ids], answer=answer,
            passages=[[part[0], part[-1] + 1] for part in places], holders=[*case.holders],
        )  # fmt: skip


def own_answer(explainer: Explainer, prompt: list[int], planted: str) -> list[int]:
    """The model's own answer up to the word; empty where that does not come, or has other tokens alone."""
    with torch.no_grad():
        written = whole(explainer).generate(
            input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)),
            max_new_tokens=WITHIN, do_sample=False,
        )[0, len(prompt) :].tolist()  # fmt: skip
    tokenizer = explainer.tokenizer
    for end in range(1, len(written) + 1):
        said = tokenizer.decode(written[:end])
        if said.endswith(planted):
            return written[:end] if taught(tokenizer, said) == written[:end] else []
    return []


def taught(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text as an answer."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def explain(explainer: Explainer, method: str, questions: Sequence[Question], folder: Path) -> None:
    """Appends a line for each question that has none, by the interface that users have."""
    settings, options = CHAINS[method]
    by_name = {case.name: case for case in cases()}
    file = folder / f"{method}.jsonl"
    write_about(file, method, settings)
    left = [*unanswered(questions, file)]
    for number, question in enumerate(left):
        case = by_name[question.name]
        prompt = Passages(case.question, case.passages)
        answer = explainer.tokenizer.decode(question.said)
        begin = time.process_time()
        prediction = explainer.explain_prediction(prompt, answer=answer, edges=(), **options)
        seconds = time.process_time() - begin
        if abs(prediction.value - logprob(explainer, question)) > CLOSE:
            raise SystemExit(f"{question.name}: the explained prediction is another one.")
        peak = measure.peak_memory(torch.device("cpu"))
        relevance = prediction.relevance.tolist()
        append(file, {"name": question.name, "relevance": relevance, "seconds": seconds, "peak_mb": peak})
        measure.note(f"{method}: {number + 1} of {len(left)}, {seconds:.1f} s")


def logprob(explainer: Explainer, question: Question) -> float:
    """The answer's log-probability, by the question's tokens."""
    count = len(question.said)
    with torch.no_grad():
        out = whole(explainer)(input_ids=torch.tensor([question.ids]), logits_to_keep=count)
    return float(out.logits[0].log_softmax(-1)[range(count), question.said].sum())


def whole(explainer: Explainer) -> Any:
    return explainer.whole.now().placement.model


if __name__ == "__main__":
    measure.run(main)
