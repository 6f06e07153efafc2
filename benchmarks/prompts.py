"""Prompts of several kinds, a hundred of each, and counterfactuals of as many tokens."""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from ligflow import Chat

Prompt = str | Chat
Asked = tuple[str, Prompt, Prompt | None]  # kind, prompt, counterfactual
COUNTRIES = """
France Italy Spain Japan China Russia Germany Poland Greece Egypt India Brazil Canada Mexico Cuba Peru
Norway Sweden Ireland Austria
"""
_FACTS = (
    "The capital of {} is",
    "The language that people speak in {} is called",
    "The largest city of {} is",
    "People from {} are called",
    "The currency of {} is the",
)
_NOUNS = "author senator doctor farmer teacher guard driver pilot banker lawyer"
_OTHERS = "students ministers dancers parents officers girls boys engineers drivers customers"
_WORDS = "foo bar baz red stone river cloud seven table green night apple moon bread wolf"
_NAMES = "a b c x y n i k p q"
_CODE = (
    "def add({0}, {1}):\n    return {0} +",
    "for {0} in range({1}):\n    print(",
)
_ADJECTIVES = "wonderful terrible boring brilliant awful lovely dull exciting weak superb"
_THINGS = "film book meal concert hotel game play museum song lecture"


def _facts() -> list[Prompt]:
    return [form.format(country) for country, form in product(COUNTRIES.split(), _FACTS)]


def _agreement() -> list[Prompt]:
    return [f"The {noun} that the {other} like" for noun, other in product(_NOUNS.split(), _OTHERS.split())]


def _repetition() -> list[Prompt]:
    generator = random.Random(0)
    drawn = [generator.sample(_WORDS.split(), 5) for _ in range(100)]
    return [" ".join([*words, *words[:3]]) for words in drawn]


def _code() -> list[Prompt]:
    pairs = [pair for pair in product(_NAMES.split(), _NAMES.split()) if pair[0] != pair[1]]
    texts: list[Prompt] = [form.format(*pair) for form in _CODE for pair in pairs]
    return texts[:100]


def _opinions() -> list[Prompt]:
    return [
        f"The {thing} was {adjective}, and I"
        for thing, adjective in product(_THINGS.split(), _ADJECTIVES.split())
    ]


def _chats() -> list[Prompt]:
    asked = ("What is the capital of {}?", "Where is {}?", "Is {} a large country?")
    more = ("Tell me something about {}.", "What do people eat in {}?")
    texts = [form.format(country) for country, form in product(COUNTRIES.split(), (*asked, *more))]
    return [Chat([{"role": "user", "content": text}]) for text in texts]


_KINDS: Mapping[str, Callable[[], list[Prompt]]] = {
    "facts": _facts,
    "agreement": _agreement,
    "repetition": _repetition,
    "code": _code,
    "opinions": _opinions,
    "chats": _chats,
}


def word_salads(texts: Sequence[str]) -> list[Asked]:
    """Each text with its words the other way round, which takes as many tokens, as the counterfactual."""
    return [("word salad", text, " ".join(reversed(text.split()))) for text in texts]


def prompts(tokenizer: Any, count: int, seed: int = 0) -> list[Asked]:
    """Kind, prompt and counterfactual (None: no other has as many tokens) of `count` prompts, kinds in turn.

    Chats are left out where the tokenizer has no template for them.
    """
    by_kind = []
    for kind, make in _KINDS.items():
        if kind != "chats" or getattr(tokenizer, "chat_template", None):
            every = make()
            random.Random(seed).shuffle(every)
            by_kind.append([(kind, prompt, every) for prompt in every])
    in_turn = [asked for turn in zip(*by_kind, strict=True) for asked in turn][:count]
    return [(kind, prompt, _other(tokenizer, prompt, every)) for kind, prompt, every in in_turn]


def _other(tokenizer: Any, prompt: Prompt, every: list[Prompt]) -> Prompt | None:
    own = _ids(tokenizer, prompt)
    others = ((other, _ids(tokenizer, other)) for other in every)
    return next((other for other, ids in others if len(ids) == len(own) and ids != own), None)


def _ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    text = prompt if isinstance(prompt, str) else prompt[0]["content"]
    return list(tokenizer(text)["input_ids"])
