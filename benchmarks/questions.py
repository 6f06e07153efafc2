"""Writes what the whole-model benchmark asks of a model: questions of several kinds, and the model itself.

    python benchmarks/questions.py [smollm2] [gemma] [minilm] [--jsonl FILE [--alone]]

Kinds take turns. Decoders are asked for the next token: of sentences of the shipped corpus cut at a random
word, facts, word lists that begin again, and prompts with one word that decides (it is changed too: facts,
agreement, who gets what) or one sentence that holds the answer. MiniLM is asked how similar two texts are.
A line of a user's own file is {"text": ..., "answer": ..., "contrast": ..., "evidence": ..., "other": ...};
"text" alone is enough for decoders ("prompt" does as well), "text" and "other" for MiniLM. "evidence" is the
part of the text that holds the answer; with "known": true the model must give the answer itself.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import prompt_templates
from ligflow import Explainer
from ligflow.inputs.token_text import token_text
from ligflow.inputs.tokens import special_ids
from ligflow.prediction.embedded import Embedded, vectors_of
from ligflow.prediction.neutral_token import neutral_token
from prompt_templates import Case
from question_file import MODELS, RUNS, Question, write_questions

LONGEST = 40  # tokens


@dataclass(frozen=True, eq=False)
class Subject:
    """A model that questions are made for."""

    name: str
    explainer: Explainer
    neutral: int

    @property
    def compares(self) -> bool:
        """Whether it compares texts; others say what comes next."""
        return self.name == "minilm"

    def ids(self, text: str) -> list[int]:
        return list(self.explainer.tokenizer(text)["input_ids"])

    def word(self, text: str | None) -> int | None:
        """The one token of a word; None if there are several, or no word."""
        ids = [] if text is None else self.explainer.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids[0] if len(ids) == 1 else None

    def likeliest(self, ids: Sequence[int]) -> int:
        """The token that the model says itself."""
        model: Any = self.explainer.whole.now().placement.model
        with torch.no_grad():
            return int(model(input_ids=torch.tensor([[*ids]]), logits_to_keep=1).logits[0, -1].argmax())


def main(
    models: Annotated[list[str] | None, typer.Argument(help="smollm2, gemma, minilm; default: all.")] = None,
    jsonl: Annotated[Path | None, typer.Option(help="More questions, one a line.")] = None,
    alone: Annotated[bool, typer.Option("--alone", help="None but those of the file.")] = False,
    out: Annotated[Path, typer.Option(help="The folder of the run.")] = RUNS,
    count: Annotated[int, typer.Option(help="Questions of each kind but the corpus', at most.")] = 45,
) -> None:
    """Write the questions and the weights of models."""
    if alone and jsonl is None:
        raise typer.BadParameter("--alone needs --jsonl FILE, whose questions it asks.")
    for name in models or MODELS:
        subject = loaded(name)
        questions = [*made(subject, count, jsonl, alone)]
        write_questions(out / name / "questions.jsonl", questions)
        explainer, weights = subject.explainer, out / "weights" / name
        model: Any = explainer.model if subject.compares else explainer.whole.now().placement.model
        if not weights.exists():
            model.save_pretrained(weights)
            explainer.tokenizer.save_pretrained(weights)
        print(f"{name}: {len(questions)} questions in {out / name}, weights in {weights}")


def loaded(name: str) -> Subject:
    """A model with its neutral token, the one that its explanations take by default."""
    explainer = Explainer.from_pretrained(MODELS[name])
    return Subject(name, explainer, neutral_of(explainer))


def made(subject: Subject, count: int, jsonl: Path | None = None, alone: bool = False) -> Iterator[Question]:
    """The questions, kinds in turn; the corpus comes every other time, since it has as many as all others."""
    shipped = prompt_templates.similarities if subject.compares else prompt_templates.continuations
    kinds = {} if alone else shipped()
    if jsonl is not None:
        kinds["own"] = own_cases(jsonl)
    others = [of_kind(subject, kind, cases, count) for kind, cases in kinds.items() if kind != "corpus"]
    corpus = of_kind(subject, "corpus", kinds.get("corpus", []), count * len(others))
    for turn in zip_longest(*others):
        for question in turn:
            yield from (each for each in (next(corpus, None), question) if each is not None)


def own_cases(path: Path) -> list[Case]:
    """A user's own questions."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [
        Case(
            line.get("text") or line["prompt"],
            answer=line.get("answer"),
            contrast=line.get("contrast"),
            evidence=line.get("evidence"),
            other=line.get("other"),
            must_know=line.get("known", False),
        )
        for line in lines
    ]


def of_kind(subject: Subject, kind: str, cases: Sequence[Case], count: int) -> Iterator[Question]:
    """The first cases of a kind, in a drawn order, that this model's tokens admit."""
    order = random.Random(0).sample(range(len(cases)), len(cases))
    number = 0
    for place in order:
        question = asked(subject, f"{kind}-{number:03d}", kind, cases[place])
        if question is not None:
            number += 1
            yield question
        if number == count:
            return


def asked(subject: Subject, name: str, kind: str, case: Case) -> Question | None:
    """A case in a model's tokens; None where words have no one token, or a change leaves the answer."""
    tokenizer = subject.explainer.tokenizer
    ids = subject.ids(case.text)
    changed, counterfactual = None, None
    if case.changed is not None:
        counterfactual = subject.ids(case.changed)
        places = [place for place, (a, b) in enumerate(zip(ids, counterfactual, strict=False)) if a != b]
        if len(counterfactual) != len(ids) or len(places) != 1:
            return None
        [changed] = places
    evidence = None if case.evidence is None else tokens_of(tokenizer, case.text, case.evidence)
    target, contrast = subject.word(case.answer), subject.word(case.contrast)
    other = None if case.other is None else subject.ids(case.other)
    lacks = (case.answer is not None and target is None) or (case.contrast is not None and contrast is None)
    if lacks or len(ids) > LONGEST or (subject.compares and other is None):
        return None
    if not subject.compares:
        own = subject.likeliest(ids)
        if case.decides and own == subject.likeliest(counterfactual or ids):
            return None
        if case.must_know and own != target:
            return None
        target = own if target is None else target
    special = special_ids(tokenizer)
    labels = [token_text(tokenizer, number) for number in ids]
    return Question(
        name, kind, ids, labels, 0 if target is None else target, subject.neutral,
        [number in special for number in ids], contrast, changed, counterfactual, evidence, other,
    )  # fmt: skip


def tokens_of(tokenizer: Any, text: str, part: str) -> list[int]:
    """The first token of a part of a text, and the one after its last."""
    begin = text.index(part)
    spans = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    inside = [place for place, (low, high) in enumerate(spans) if low < begin + len(part) and begin < high]
    return [inside[0], inside[-1] + 1]


def neutral_of(explainer: Explainer) -> int:
    """The token that explanations of this model's predictions take as the neutral one."""
    model: Any = explainer.model
    ids = torch.tensor([explainer.tokenizer("A")["input_ids"]])
    vectors = vectors_of(model.get_input_embeddings(), ids)
    at = Embedded(model.get_input_embeddings(), ids, vectors, torch.zeros(ids.shape[1], dtype=torch.bool))
    return neutral_token(explainer.tokenizer, at)[0]


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
