"""What the page on the prediction says of real models. Run: python docs/scripts/predictions.py NAME ...

Names: first_word, cuts, prompts, passages, replaced, shuffled. On SmolLM2, cuts also on Gemma, which
needs the extra `gemma`; one to five minutes each on one core.
"""

import statistics
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from by_name import run_named

from ligflow import Chat, Explainer, Passages
from ligflow.evaluation.shuffled_weights import with_shuffled_weights
from ligflow.prediction.own_answer import answer_question
from ligflow.prediction.prediction import Prediction

MODEL, OTHER = "embedded:smollm2", "embedded:gemma-3-270m"
TEXTS = (
    "The capital of France is",
    "Monday, Tuesday, Wednesday, Thursday,",
    "foo bar baz qux foo bar baz",
    "Water boils at one hundred",
)
TOKENS = (" ", ".", "<|endoftext|>")
PROMPTS: dict[str, Any] = {
    "capital": "The capital of France is",
    "induction": "foo bar baz qux foo bar baz",
    "list": "Monday, Tuesday, Wednesday, Thursday,",
    "code": "def add(a, b):\n    return a +",
    "chat": Chat([{"role": "user", "content": "What is the capital of Italy?"}]),
    "sum": "Seven plus five equals",
    "digits": "3 + 4 =",
    "pronoun": "Mary gave John a book because he loved reading. John thanked",
    "translation": 'The English word for the French word "chien" is "',
    "opinion": "The film was a complete waste of time; I thought it was",
    "long": (
        "The old lighthouse keeper counted the ships while the storm grew darker over the bay, and nobody "
        "else in the village saw the last light go out before the cold grey morning came and the small boats "
        "returned to the quiet harbour. The keeper's name was Tom. He had lived alone in the lighthouse for "
        "thirty years. In the morning, the people of the village thanked"
    ),
}


ALSO = {"pronoun": "Mary", "opinion": " waste", "long": " Tom"}  # words that a reader would look for
ASKED = (
    Passages(
        "When was the lighthouse built?",
        [
            "The harbour was widened in 1903.",
            "The lighthouse was built in 1871.",
            "Fishing boats left in the morning.",
        ],
    ),
    Passages(
        "Who wrote the report?",
        ["The report was written by Anna Berg.", "The meeting was led by Tom Hill."],
    ),
    Passages(
        "What colour is the door of the old house?",
        ["The new house has a red door.", "The old house has a green door.", "The garden has a blue gate."],
    ),
)


def points(prediction: Prediction) -> float:
    """Points a segment, in the mean."""
    return statistics.mean(segment.points for segment in prediction.certificates)


def first_word() -> None:
    """Every token replaced by one, the first too or kept: points, and the first word's part."""
    explainer = Explainer.from_pretrained(MODEL)
    for token in (*TOKENS, "random"):
        for kept in (True, False):
            each = [_first_word(explainer, text, token, kept) for text in TEXTS]
            print(
                f"{token!r:16} first word {'kept' if kept else 'replaced':8} points "
                f"{_spread([points(p) for p in each], '.1f')}; first word's part "
                f"{_spread([float(p.relevance[0]) / p.scale for p in each], '+.0%')}; of {TEXTS[0]!r} "
                f"{float(each[0].relevance[0]):+.1f} of {each[0].scale:.1f}; {_off(each)}",
                flush=True,
            )


def _off(each: Sequence[Prediction]) -> str:
    worst = max(float(p.error.abs().sum()) / p.scale for p in each)
    return f"estimated error {worst:.1e} at most"


def _spread(values: Sequence[float], form: str) -> str:
    """Median, and the least and most."""
    middle, least, most = (f"{part:{form}}" for part in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({least} to {most})"


def _first_word(explainer: Explainer, text: str, token: str, kept: bool) -> Prediction:
    count = len(explainer.tokenizer(text)["input_ids"])
    if token == "random":
        ids = torch.randint(100, 40_000, (count,), generator=torch.Generator().manual_seed(0))
    else:
        ids = torch.full((count,), explainer.tokenizer(token)["input_ids"][0])
    on = list(range(int(kept), count))
    return explainer.explain_prediction(text, reference=ids, on=on, edges=())


def cuts() -> None:
    """The same question under other cuts: how far tokens move, and whether the strongest stays."""
    for model in (MODEL, OTHER):
        explainer = Explainer.from_pretrained(model)
        base = [explainer.explain_prediction(text, edges=()) for text in TEXTS]
        for cut in ("layer", "model"):
            others = [
                explainer.explain_prediction(text, cut=cut, edges=(), tol=1e-2, max_points=511)
                for text in TEXTS
            ]
            pairs = [*zip(others, base, strict=True)]
            moved = [float((other.relevance - one.relevance).abs().sum()) / one.scale for other, one in pairs]
            same = sum(_strongest(other) == _strongest(one) for other, one in pairs)
            print(
                f"{model}, modules against {cut}: tokens move by {_spread(moved, '.2f')} of the scale, "
                f"the strongest is the same in {same} of {len(pairs)}; {_off(others)}",
                flush=True,
            )


def _strongest(p: Prediction) -> int:
    return int(p.relevance.abs().argmax())


def prompts() -> None:
    """Eleven prompts: answer, change, the strongest tokens, heads with what they read, and MLPs."""
    explainer = Explainer.from_pretrained(MODEL)
    for name, prompt in PROMPTS.items():
        p = explainer.explain_prediction(prompt)
        (answer, share), change = p.top[0], p.change
        strongest = p.relevance.abs().argsort(descending=True)[:4].tolist()
        strongest += [at for at, token in enumerate(p.tokens) if token == ALSO.get(name)]
        words = ", ".join(f"{p.tokens[at]!r} ({at}) {float(p.relevance[at]):+.2f}" for at in strongest)
        heads = "; ".join(_heads(p))
        print(
            f"{name}, {len(p.tokens)} tokens: {answer!r} {share:.0%}, change {change:.1f}: {words}. {heads}. "
            f"MLP 0: {float(p.mlps[0].sum()):+.1f}",
            flush=True,
        )


def _heads(p: Prediction) -> Iterator[str]:
    sizes = sorted(
        (
            (float(head.sum()), layer, number)
            for layer, heads in p.heads.items()
            for number, head in enumerate(heads)
        ),
        key=lambda row: -abs(row[0]),
    )
    for size, layer, number in sizes[:3]:
        read = ""
        if layer in p.stored_edges:
            edges = p.edges(layer)[number]
            target, source = divmod(int(edges.abs().argmax()), edges.shape[-1])
            read = f" reads {p.tokens[source]!r} at {p.tokens[target]!r}: {float(edges[target, source]):+.1f}"
        yield f"head {layer}.{number} {size:+.1f}{read}"


def passages() -> None:
    """Three questions with passages: the answer of a chat of SmolLM2, and what each passage has of it."""
    explainer = Explainer.from_pretrained(MODEL)
    for asked in ASKED:
        answer = "".join(answer_question(explainer.whole, asked, max_new_tokens=12).rows)
        p = explainer.explain_prediction(asked, answer=answer, edges=())
        parts = ", ".join(f"{part.name} {part.relevance / p.scale:+.0%}" for part in p.by("passages"))
        strongest = p.relevance.abs().argsort(descending=True)[:3].tolist()
        words = ", ".join(f"{p.tokens[at]!r} {float(p.relevance[at]):+.1f}" for at in strongest)
        print(f"{asked.question} {answer!r}, change {p.change:.1f}: {parts}; {words}", flush=True)


def replaced() -> None:
    """The strongest tokens and heads of two prompts, replaced for real."""
    explainer = Explainer.from_pretrained(MODEL)
    for name in ("capital", "chat"):
        for row in explainer.explain_prediction(PROMPTS[name]).check(tokens=3, heads=3):
            print(
                f"{name}: {row.name!r} relevance {row.relevance:+.2f}, "
                f"out {row.removed:+.2f}, in {row.added:+.2f}"
            )


def shuffled() -> None:
    """A control: the same question to the model with the weights of its layers shuffled."""
    explainer = Explainer.from_pretrained(MODEL)
    control = Explainer(with_shuffled_weights(explainer.whole.model), explainer.tokenizer)
    for text, word in (("The capital of France is", " France"), ("The capital of Japan is", " Japan")):
        for name, model in (("trained", explainer), ("shuffled", control)):
            p = model.explain_prediction(text, edges=())
            part = float(p.relevance[p.tokens.index(word)] / p.relevance.abs().sum())
            print(f"{name}: {word!r} has {part:+.0%} of {p.top[0][0]!r}, change {p.change:.2f}")


if __name__ == "__main__":
    known = (first_word, cuts, prompts, passages, replaced, shuffled)
    run_named(known, sys.argv[1:], __doc__)
