"""Questions with five passages of which one or two say the answer, written from templates with a seed.

Of each question's passages those that hold the answer say it in other words than the question; rivals say the
same of somebody else, in the holders' words; asides say something else of the same one, whose name the
question shares with them as with the holders. It needs nothing but Python, so that environments of other
packages can import it.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

PASSAGES = 5
CASES = 160
_SEED = 28


@dataclass(frozen=True)
class World:
    """What is asked of a subject, how passages say it of a subject and a value, and what else they say."""

    question: str
    holders: tuple[str, ...]
    asides: tuple[str, ...]
    subjects: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True)
class PassageCase:
    """A question, its passages, which of them hold the answer, and the word that answers it."""

    name: str
    kind: str
    question: str
    passages: tuple[str, ...]
    holders: tuple[int, ...]
    planted: str


_TOWNS = "Bergen Oslo Riga Lisbon Dublin Vienna Prague Athens Cairo Lima Boston Havana"
_PEOPLE = "Nilsen Weber Rossi Moreau Novak Silva Brandt Keller Olsen Haas Lund Costa"
_COLOURS = "red blue green yellow white black grey orange"
_ANIMALS = "dog cat horse goat parrot rabbit donkey snake"
_YEARS = "1871 1903 1912 1926 1934 1948 1957 1963"
_DISHES = "soup fish rice cheese bread lamb beans cake"
_PLACES = ("lighthouse", "museum", "library", "school", "harbour", "theatre", "mill", "station")
_TRADES = ("baker", "teacher", "doctor", "farmer", "painter", "driver", "lawyer", "gardener")

WORLDS = (
    World(
        "Which town does the {} come from?",
        ("The {0} was born and raised in {1}.", "Everybody knows that {1} is the home of the {0}."),
        ("The {0} often visits other towns.", "The {0} has lived on our street for years."),
        _TRADES, tuple(_TOWNS.split()),
    ),
    World(
        "When was the {} built?",
        ("Workers finished the {0} in {1}.", "The {0} has stood here since {1}."),
        ("The {0} was painted again last summer.", "The {0} is closed on Mondays."),
        _PLACES, tuple(_YEARS.split()),
    ),
    World(
        "What colour is the door of the {}?",
        ("The {0} has a {1} door.", "People who enter the {0} pass a {1} door."),
        ("The door of the {0} is heavy.", "The {0} is the oldest house here."),
        _PLACES, tuple(_COLOURS.split()),
    ),
    World(
        "Which animal does Mr {} keep?",
        ("Mr {0} walks out with his {1} each morning.", "The {1} of Mr {0} won a prize."),
        ("Mr {0} reads books about animals.", "Mr {0} keeps his garden tidy."),
        tuple(_PEOPLE.split()), tuple(_ANIMALS.split()),
    ),
    World(
        "What does Mrs {} cook on Sundays?",
        ("On Sundays Mrs {0} makes {1} for all.", "Guests of Mrs {0} eat {1} on Sundays."),
        ("Mrs {0} learned to cook abroad.", "Mrs {0} sings in the choir on Sundays."),
        tuple(_PEOPLE.split()), tuple(_DISHES.split()),
    ),
    World(
        "Who owns the {}?",
        ("The {0} belongs to Mr {1}.", "Mr {1} bought the {0} from the town."),
        ("The owner of the {0} is rich.", "The {0} was sold twice."),
        _PLACES, tuple(_PEOPLE.split()),
    ),
)  # fmt: skip


def cases(count: int = CASES) -> list[PassageCase]:
    """The first cases: worlds in turn, one holder and two of them in turn; the same ones whenever called."""
    generator = random.Random(_SEED)
    numbers = {"one holder": 0, "two holders": 0}
    made = []
    for number in range(count):
        kind = [*numbers][number // len(WORLDS) % 2]
        name = f"{kind.replace(' ', '-')}-{numbers[kind]:03d}"
        made.append(_case(generator, name, kind, WORLDS[number % len(WORLDS)]))
        numbers[kind] += 1
    return made


def _case(generator: random.Random, name: str, kind: str, world: World) -> PassageCase:
    subject, *others = generator.sample(world.subjects, 3)
    value, *wrong = generator.sample(world.values, 3)
    forms = generator.sample(world.holders, 2)
    count = 1 if kind == "one holder" else 2
    held = [(form.format(subject, value), True) for form in forms[:count]]
    rivals = [(text, False) for text in _rivals(generator, world, others, wrong)]
    asides = generator.sample(world.asides, PASSAGES - len(held) - len(rivals))
    every = [*held, *rivals, *((form.format(subject), False) for form in asides)]
    generator.shuffle(every)
    return PassageCase(
        name, kind, world.question.format(subject), tuple(text for text, _ in every),
        tuple(place for place, (_, holds) in enumerate(every) if holds), value,
    )  # fmt: skip


def _rivals(generator: random.Random, world: World, others: list[str], wrong: list[str]) -> Iterator[str]:
    """The same said of two others, with other values."""
    for other, value in zip(others, wrong, strict=True):
        yield generator.choice(world.holders).format(other, value)
