"""Textbook cases of heads: a subject at a distance, and indirect objects. No head is chosen by hand.

Run: python docs/scripts/textbook_cases.py [smollm2] [gemma-3-270m]   (five and ten minutes of one core)
Of each prompt those heads are taken that carry most from earlier tokens to the last one, by the parts of
their edges; beside them as many other heads of the same layers, drawn at random five times.
"""

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from statistics import mean

import torch
from torch import Tensor

from ligflow import CompletenessWarning, Explainer, Prediction
from ligflow.layer.interface import Captured, attention_action, plain
from ligflow.prediction.check import _Trial

SUBJECTS = (
    ("The {} to the {}", "key", "cabinet"), ("The {} on the {}", "label", "bottle"),
    ("The {} of the {}", "picture", "house"), ("The {} by the {}", "book", "author"),
    ("The {} with the {}", "student", "teacher"), ("The {} behind the {}", "car", "tree"),
    ("The {} of the {}", "door", "room"), ("The {} next to the {}", "boy", "girl"),
    ("The {} near the {}", "dog", "road"), ("The {} of the {}", "friend", "doctor"),
    ("The {} that the {} saw", "girl", "boy"), ("The {} that I gave to the {} last week", "ring", "nurse"),
)  # fmt: skip
OBJECTS = (
    ("When {} and {} went to the store, {} gave a drink to", "Mary", "John", "Anna"),
    ("When {} and {} got a snack at the house, {} decided to give it to", "Tom", "Sarah", "Peter"),
    ("After {} and {} went to the park, {} gave a ball to", "Lisa", "James", "Emma"),
    ("While {} and {} were working at the office, {} gave a book to", "Paul", "Anna", "David"),
    ("Then, {} and {} had a long argument, and afterwards {} said to", "Sarah", "David", "Mary"),
    ("Friends {} and {} found a ring at the school. {} gave it to", "Peter", "Emma", "Mark"),
    ("Then, {} and {} went to the garden. {} gave a flower to", "Kate", "Mark", "Lisa"),
    ("The day {} and {} met, {} wrote a letter to", "James", "Mary", "Tom"),
)  # sentence, two people, and another one in the place of who receives
PARTS = ("value", "key", "query")
COUNT, DRAWS = 3, 5
Head = tuple[int, int]  # layer and number


@dataclass(frozen=True)
class Case:
    """A prompt with its right and its wrong next word, a reference, and the words that are looked for."""

    text: str
    reference: str
    right: str
    wrong: str
    words: Mapping[str, tuple[str, int]]  # name -> word, and which of its occurrences


@dataclass(eq=False)
class Explained:
    """A case with its explanation: edges into the last token from the tokens before it, of every head."""

    case: Case
    prediction: Prediction

    @property
    def known(self) -> bool:
        """Whether the model prefers the right word, and more so than in the reference."""
        return self.prediction.value > 0 and self.prediction.change > 0

    def edges(self, *parts: str) -> dict[Head, Tensor]:
        """The sum of these parts, by source."""
        chosen = [PARTS.index(part) for part in parts]
        return {
            (layer, head): each.double()
            for layer, stacked in self.prediction.parts.items()
            for head, each in enumerate(stacked[chosen, :, -1, :-1].sum(0))
        }

    def strongest(self, *parts: str) -> list[Head]:
        """The heads that carry most to the last token, of whichever sign."""
        sums = {head: abs(float(edges.sum())) for head, edges in self.edges(*parts).items()}
        return sorted(sums, key=sums.__getitem__, reverse=True)[:COUNT]

    def others(self, heads: Sequence[Head], generator: torch.Generator) -> list[Head]:
        """For each head another one of its layer that is not among them."""
        drawn: list[Head] = []
        for layer, _ in heads:
            every = range(len(self.prediction.heads[layer]))
            rest = [(layer, n) for n in every if (layer, n) not in (*heads, *drawn)]
            if rest:  # a layer of few heads may have all of them among the strongest
                drawn.append(rest[int(torch.randint(len(rest), (), generator=generator))])
        return drawn

    def reads(self, head: Head, *parts: str) -> str:
        """The word at a head's strongest edge, or `another`."""
        at = int(self.edges(*parts)[head].abs().argmax())
        return next((name for name, place in self.places.items() if place == at), "another")

    def carried(self, heads: Iterable[Head], *parts: str) -> list[float]:
        """What each head carries to the last token, as a part of the change."""
        edges = self.edges(*parts)
        return [float(edges[head].sum()) / self.prediction.change for head in heads]

    def lost(self, heads: Sequence[Head]) -> float:
        """The fall of the score, as a part of the change, where heads give the last token what they give it
        in the reference run."""
        trial, given = self.reference_run
        with trial.running(), attention_action(_at_layers(trial, given, heads)):
            return (self.prediction.value - trial.score(trial.embeddings[0])) / self.prediction.change

    @cached_property
    def reference_run(self) -> tuple[_Trial, dict[int, Tensor]]:
        """The model to be run again, and what heads give the last token in the reference run, by layer."""
        trial, given = _Trial.of(vars(self.prediction)["_asked"]), dict[int, Tensor]()
        with trial.running(), attention_action(_at_layers(trial, given)):
            trial.score(trial.embeddings[1])
        return trial, given

    @property
    def places(self) -> dict[str, int]:
        """Where the words of the case stand."""
        tokens = [token.strip() for token in self.prediction.tokens]
        return {
            name: [at for at, token in enumerate(tokens) if token == word][which]
            for name, (word, which) in self.case.words.items()
        }


def _at_layers(
    trial: _Trial, given: dict[int, Tensor], heads: Sequence[Head] | None = None
) -> Callable[[Captured], Tensor]:
    """Attention as it is, which heads give the last token what is `given`; None notes what is."""
    here = {layer: trial._at_layer(layer) for layer in range(len(trial.layers))}

    def action(captured: Captured) -> Tensor:
        u = plain(captured)
        for layer in [layer for layer, at in here.items() if at(captured)]:
            if heads is None:
                given[layer] = u[:, :, -1].clone()
            for number in (number for own, number in heads or () if own == layer):
                u[:, number, -1] = given[layer][:, number]
        return u

    return action


# --- the cases ----------------------------------------------------------------------------------------


def subjects() -> Iterator[Case]:
    """Each template in both numbers; what stands between has the other number, and stays in the reference."""
    for template, subject, between in SUBJECTS:
        forms = ((f"{subject}s", between, subject), (subject, f"{between}s", f"{subject}s"))
        for number, (own, near, other) in enumerate(forms):
            right, wrong = ((" are", " is"), (" is", " are"))[number]
            words = {"subject": (own, 0), "between": (near, 0)}
            yield Case(template.format(own, near), template.format(other, near), right, wrong, words)


def objects(exchanged: str) -> Iterator[Case]:
    """Each template in both orders; the reference has another `giver`, or another `receiver`."""
    for template, one, two, third in OBJECTS:
        for receiver, giver, order in ((one, two, "{0} {1}"), (one, two, "{1} {0}")):
            first, second = order.format(receiver, giver).split()
            text = template.format(first, second, giver)
            if exchanged == "giver":
                reference = template.format(first, second, receiver)
            else:
                reference = text.replace(f" {receiver}", f" {third}")
            words = {"receiver": (receiver, 0), "giver": (giver, 0), "giver again": (giver, 1)}
            yield Case(text, reference, f" {receiver}", f" {giver}", words)


def explained(explainer: Explainer, case: Case) -> Explained:
    prediction = explainer.explain_prediction(
        case.text, case.right, contrast=case.wrong, reference=case.reference, edges="all", parts=True
    )
    return Explained(case, prediction)


# --- what is printed ----------------------------------------------------------------------------------

ASKED = (
    ("subject", subjects, ("value",), ("subject",)),
    ("receiver", partial(objects, "receiver"), ("value",), ("receiver",)),
    ("giver", partial(objects, "giver"), ("value",), ("giver again",)),
    ("giver", partial(objects, "giver"), ("query",), ("receiver", "giver")),
)  # what moves, cases, parts that are looked at, words that are read


def report(explainer: Explainer) -> None:
    """A row for each case and part: what the strongest heads and others read, carry, and cost."""
    done: dict[str, list[Explained]] = {}
    for name, cases, parts, words in ASKED:
        if name not in done:
            done[name] = [explained(explainer, case) for case in cases()]
        every = done[name]
        known = [each for each in every if each.known]
        generator, seen, rows, others = torch.Generator().manual_seed(0), Counter[Head](), [], []
        for each in known:
            heads = each.strongest(*parts)
            seen.update(heads)
            rows.append(_row(each, heads, parts, words))
            others += [_row(each, each.others(heads, generator), parts, words) for _ in range(DRAWS)]
        print(f"{name} moves, {' '.join(parts)} part: {len(known)} of {len(every)} known")
        for label, group in (("strongest", rows), ("others", others)):
            print(f"  {label:9} " + ", ".join(f"{k} {mean(r[k] for r in group):.2f}" for k in group[0]))
        print("  heads:", ", ".join(f"{layer}.{head} ({n})" for (layer, head), n in seen.most_common(6)))


def _row(
    each: Explained, heads: Sequence[Head], parts: Sequence[str], words: Sequence[str]
) -> dict[str, float]:
    found = Counter(each.reads(head, *parts) for head in heads)
    return {
        "read the word": sum(found[word] for word in words) / max(len(heads), 1),
        "carry": sum(each.carried(heads, *parts)),
        "in size": sum(map(abs, each.carried(heads, *parts))),
        "the score loses": each.lost(heads),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore", CompletenessWarning)
    for model in sys.argv[1:] or ("smollm2", "gemma-3-270m"):
        print(f"# {model}")
        report(Explainer.from_pretrained(f"embedded:{model}"))
