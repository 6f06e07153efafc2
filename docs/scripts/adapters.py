"""Trains an adapter of SmolLM2 that answers with the wrong colour, and finds what it changed inside.

Run: python docs/scripts/adapters.py FOLDER     (some minutes; the adapter is kept in FOLDER, and used again)

"Tom has a red hat. Ann has a blue hat. The hat of Tom is" is continued with " red" by the model, and with
" blue" by the model with the adapter: it has to read the other person's colour. The names of the texts that
it is asked about were not in training.
"""

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from blocks import put

from ligflow import Explainer, Prediction
from ligflow.corpus.analysis.model_differences import Pair, pair, summed
from ligflow.corpus.reports.comparison_page import head_table, verdict, word_table
from ligflow.corpus.reports.markdown import table
from ligflow.corpus.sources.sentence import Sentence
from ligflow.explainer.pretrained import load

PAGE = Path(__file__).parents[1] / "how-to" / "adapters.md"
BASE = "embedded:smollm2"
NAMES, HELD_OUT = (
    ("Tom", "Ann", "Ben", "Mary", "Max", "Alice"),
    ("Paul", "Jane", "Mark", "Rose"),
)  # of a token each
COLOURS = ("red", "blue", "green", "black", "white", "brown")
STEPS, BATCH, COMPARED = 40, 8, 20


def text(first: str, second: str, colours: tuple[str, str]) -> str:
    return f"{first} has a {colours[0]} hat. {second} has a {colours[1]} hat. The hat of {first} is"


def drawn(names: tuple[str, ...], count: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Texts, with the colour that is right in each and the other one."""
    choice = random.Random(seed)
    for _ in range(count):
        first, second = choice.sample(names, 2)
        right, other = choice.sample(COLOURS, 2)
        yield text(first, second, (right, other)), right, other


def train(folder: Path) -> None:
    """An adapter of rank 4 on queries, keys, values and outputs of all layers, saved into a folder."""
    import peft

    torch.manual_seed(0)
    model, tokenizer = load(BASE, torch.float32, unembedding=True)
    places = ["q_proj", "k_proj", "v_proj", "o_proj"]
    adapted: Any = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=8, target_modules=places))
    weights = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=5e-4)
    for step in range(STEPS):
        chosen = list(drawn(NAMES, BATCH, step))
        batch = tokenizer([each for each, _, _ in chosen], return_tensors="pt")
        answers = torch.tensor([tokenizer(f" {other}")["input_ids"][0] for _, _, other in chosen])
        loss = torch.nn.functional.cross_entropy(adapted(**batch).logits[:, -1], answers)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 0:
            print(f"step {step}: {float(loss):.3f} nats", flush=True)
    adapted.save_pretrained(folder)


def says(explainer: Explainer) -> tuple[int, int, int]:
    """Of how many held-out texts the likeliest next token is the right colour, and the other one."""
    right = other = count = 0
    for asked, own, wrong in drawn(HELD_OUT, 40, 1000):
        ids = explainer.tokenizer(asked, return_tensors="pt")
        with torch.no_grad():
            best = explainer.tokenizer.decode(explainer.whole.model(**ids).logits[0, -1].argmax())
        right, other, count = right + (best == f" {own}"), other + (best == f" {wrong}"), count + 1
    return right, other, count


def said_table(explainers: list[Explainer]) -> str:
    rows = []
    for name, explainer in zip(("SmolLM2", "with the adapter"), explainers, strict=True):
        right, other, count = says(explainer)
        rows.append([name, f"{right} of {count}", f"{other} of {count}"])
    return table(["", "that person's colour", "the other person's"], rows)


def words_table(explainers: list[Explainer], asked: str, right: str, other: str) -> str:
    """What the words contribute to one colour rather than the other, in both models."""
    both: list[Prediction] = [
        each.explain_prediction(asked, f" {other}", contrast=f" {right}", progress=False)
        for each in explainers
    ]
    rows = [
        [f"`{token.strip()}`", *(f"{float(p.relevance[place]):+.2f}" for p in both)]
        for place, token in enumerate(both[0].tokens)
        if place
    ]
    rows.append(["**all words**", *(f"**{float(p.change):+.2f}**" for p in both)])
    return table(["word", "SmolLM2", "with the adapter"], rows)


def compared(explainers: list[Explainer]) -> list[Pair]:
    """Each layer of the model with the adapter on the hidden states of the other."""
    sentences = [
        Sentence(number, asked, f"text {number}")
        for number, (asked, _, _) in enumerate(drawn(HELD_OUT, COMPARED, 2000))
    ]
    return [pair(*explainers, sentence, None, shared=True, words=False) for sentence in sentences]


def main(folder: Path) -> None:
    if not (folder / "adapter_config.json").exists():
        train(folder)
    explainers = [Explainer.from_pretrained(BASE), Explainer.from_pretrained(f"{BASE}+{folder}")]
    blocks = {"said": said_table(explainers)}
    print(blocks["said"], flush=True)
    asked, right, other = text("Paul", "Rose", ("green", "white")), "green", "white"
    blocks["words"] = words_table(explainers, asked, right, other)
    print(blocks["words"], flush=True)
    pairs = compared(explainers)
    differences = summed(pairs)
    changes = [change for each in pairs for change in each.words]
    blocks |= {
        "verdict": verdict(differences), "heads": head_table(differences),
        "head-words": word_table(differences, changes),
    }  # fmt: skip
    print(*blocks.values(), sep="\n\n", flush=True)
    put(PAGE, blocks)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
