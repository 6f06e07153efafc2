"""What the whole-model benchmark asks, in words: from the shipped corpus and from templates."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product

from ligflow.corpus.sources.readers import read
from ligflow.corpus.sources.sentence import Sentence
from prompts import COUNTRIES

_FEWEST, _MOST = 6, 14  # words of a cut sentence
_ALIKE, _LONGEST = 8, 18  # words of a sentence that is compared
_FACTS = (
    "The capital of {} is",
    "The language that people speak in {} is called",
    "Most people who were born in {} speak",
    "If you travel to {}, do not forget to visit the city of",
    "The currency of {} is the",
)
_SAME = (
    ("The capital of {} is a large city.", "A large city is the capital of {}."),
    ("People who live in {} like to dance.", "In {} people often dance."),
    ("My uncle travelled to {} by train.", "The train took my uncle to {}."),
    ("The food of {} is rather hot.", "They eat rather hot dishes in {}."),
    ("It rained in {} for three weeks.", "For three weeks {} had rain."),
)
_SINGULAR = "author senator doctor farmer teacher guard driver pilot banker lawyer"
_PLURAL = "authors senators doctors farmers teachers guards drivers pilots bankers lawyers"
_BETWEEN = (
    "that the children like",
    "near the old house",
    "who met the president last week",
    "behind the two cars",
)
_NAMES = "Mary John Tom Anna Paul James Sarah Peter Alice Robert David Laura"
_GIVING = (
    "When {0} and {1} went to the store, {2} gave a drink to",
    "After {0} and {1} had dinner, {2} sent a long letter to",
    "{0} and {1} were working at the school, and {2} handed the book to",
    "Then {0} and {1} had a fight, and afterwards {2} said sorry to",
)
_COLOURS = "red blue green yellow white black"
_GOODS = "apples shoes books coins stones letters flowers knives eggs pens"
_MOODS = (("wonderful", "terrible"), ("brilliant", "awful"), ("lovely", "boring"), ("great", "bad"))
_THINGS = "film book meal concert hotel game song play"
_JUDGED = (
    "The {0} was {1}, and I would call it a very",
    "Everybody said that the {0} was {1}, so we all felt",
)
_WORDS = "stone river cloud seven table green night apple moon bread wolf horse paper glass winter"


@dataclass(frozen=True)
class Case:
    """A prompt, or a text and the `other` it is compared with.

    `answer` is the question's own (None: what the model says), `contrast` what it is said rather than.
    `changed` is the prompt with one word changed; where that `decides`, the model's answer must change too.
    `evidence` is the part that holds the answer, which the model `must_know`.
    """

    text: str
    answer: str | None = None
    contrast: str | None = None
    changed: str | None = None
    evidence: str | None = None
    other: str | None = None
    decides: bool = False
    must_know: bool = False


def continuations() -> dict[str, list[Case]]:
    """What decoders are asked to go on with, by kind."""
    return {
        "corpus": [*_cut_sentences()],
        "facts": [Case(form.format(country)) for form, country in product(_FACTS, COUNTRIES.split())],
        "agreement": [*_agreement()],
        "giving": [*_giving()],
        "changed": [*_changed()],
        "evidence": [*_planted()],
        "repetition": [*_repetition()],
    }


def similarities() -> dict[str, list[Case]]:
    """Pairs of texts that MiniLM compares, by kind."""
    return {
        "corpus": [*_halves()],
        "facts": [
            Case(one.format(country), other=other.format(country))
            for (one, other), country in product(_SAME, COUNTRIES.split())
        ],
        "changed": [*_changed_pairs()],
        "evidence": [*_planted_pairs()],
    }


def _sentences() -> Iterator[list[str]]:
    texts = (item.text for item in read("embedded:sentences") if isinstance(item, Sentence))
    return (text.split() for text in texts)


def _cut_sentences() -> Iterator[Case]:
    """Each sentence up to a random word, its last one never among them."""
    generator = random.Random(0)
    for words in _sentences():
        if len(words) > _FEWEST:
            yield Case(" ".join(words[: generator.randint(_FEWEST, min(_MOST, len(words) - 1))]))


def _agreement() -> Iterator[Case]:
    pairs = [*zip(_SINGULAR.split(), _PLURAL.split(), strict=True)]
    for (one, many), between in product(pairs, _BETWEEN):
        single, several = f"The {one} {between}", f"The {many} {between}"
        yield Case(single, " is", " are", several)
        yield Case(several, " are", " is", single)


def _giving() -> Iterator[Case]:
    """Who gets it: the one who does not give."""
    for form, (first, second) in product(_GIVING, permutations(_NAMES.split(), 2)):
        text, swapped = (form.format(first, second, giver) for giver in (second, first))
        yield Case(text, f" {first}", f" {second}", swapped)


def _changed() -> Iterator[Case]:
    """One word that decides: a country, or what something was like."""
    countries = COUNTRIES.split()
    for form, place in product(_FACTS, range(len(countries))):
        other = countries[(place + 1) % len(countries)]
        yield Case(form.format(countries[place]), changed=form.format(other), decides=True)
    for form, thing, (good, bad) in product(_JUDGED, _THINGS.split(), _MOODS):
        yield Case(form.format(thing, good), changed=form.format(thing, bad), decides=True)


def _boxes(generator: random.Random) -> tuple[list[str], str, str]:
    """Three sentences that say what is in boxes, one of them, and what it says of which box."""
    colours = generator.sample(_COLOURS.split(), 3)
    goods = generator.sample(_GOODS.split(), 3)
    lines = [f"In the {colour} box there are {good}." for colour, good in zip(colours, goods, strict=True)]
    chosen = generator.randrange(3)
    return lines, lines[chosen], f"{colours[chosen]} {goods[chosen]}"


def _planted() -> Iterator[Case]:
    """Which box holds what, asked in the words of the sentence that says so."""
    generator = random.Random(0)
    for _ in range(200):
        lines, evidence, said = _boxes(generator)
        colour, good = said.split()
        text = " ".join([*lines, f"In the {colour} box there are"])
        yield Case(text, answer=f" {good}", evidence=evidence, must_know=True)


def _planted_pairs() -> Iterator[Case]:
    """A passage, and what one of its sentences says in other words."""
    generator = random.Random(0)
    for _ in range(100):
        lines, evidence, said = _boxes(generator)
        colour, good = said.split()
        yield Case(" ".join(lines), evidence=evidence, other=f"The {colour} box is full of {good}.")


def _repetition() -> Iterator[Case]:
    """Five words, and the first three or four of them again."""
    generator = random.Random(0)
    for count in (3, 4) * 50:
        words = generator.sample(_WORDS.split(), 5)
        yield Case(" ".join([*words, *words[:count]]))


def _halves() -> Iterator[Case]:
    """A sentence, and the later half of its words as a text of its own."""
    for words in _sentences():
        if _ALIKE <= len(words) <= _LONGEST:
            yield Case(" ".join(words), other=" ".join(_second_half(words)))


def _second_half(words: Sequence[str]) -> Sequence[str]:
    return words[len(words) // 2 :]


def _changed_pairs() -> Iterator[Case]:
    """Texts that are alike but for one word."""
    countries = COUNTRIES.split()
    for (form, other), place in product(_SAME, range(len(countries))):
        country, instead = countries[place], countries[(place + 1) % len(countries)]
        yield Case(form.format(country), changed=form.format(instead), other=other.format(country))
