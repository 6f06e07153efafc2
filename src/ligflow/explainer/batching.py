"""Many texts: which go through the layers together, and what happens to those that cannot."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from torch import Tensor

from ligflow.devices.precision import exact_mode
from ligflow.errors import LigflowError, TextWarning, warn
from ligflow.explainer.assembly import assemble
from ligflow.explainer.computation import compute
from ligflow.explainer.encoding import Encoded
from ligflow.explainer.example import Example
from ligflow.explainer.placement import Done
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.flow import Flow
from ligflow.inputs.checks import Inputs
from ligflow.inputs.token_names import Layers, Names
from ligflow.inputs.words import Words
from ligflow.settings import Settings, every_route

Item = TypeVar("Item")
LeftOut = Callable[[int, object, LigflowError], None]  # a text's number, the text, and why it is left out
OnExample = Callable[[int, Example], None]
_WINDOW = 256  # texts that are sorted by length together; results wait for those before them
_ROWS_ON_CPU = 512
_ROWS_ELSEWHERE = 8192


def windows(items: Iterable[Item]) -> Iterator[list[tuple[int, Item]]]:
    """Numbered items, a few hundred at a time."""
    numbered = enumerate(items)
    while window := list(islice(numbered, _WINDOW)):
        yield window


def length_of(inputs: Mapping[str, Tensor]) -> int:
    """Something that grows with the number of tokens."""
    return max((tensor.shape[1] for tensor in inputs.values() if tensor.ndim > 1), default=1)


def by_length(lengths: Mapping[int, int], most: int | None, device: str) -> list[list[int]]:
    """Numbers of texts grouped by similar length, so that little has to be filled up.

    A group has at most `most` members; by default as many as make a few hundred tokens on a CPU, and a
    few thousand elsewhere. Raises LigflowError if `most` is less than 1.
    """
    if most is not None and most < 1:
        raise LigflowError(f"batch_size is {most}; give a whole number of at least 1, or None.")
    rows = _ROWS_ON_CPU if device == "cpu" else _ROWS_ELSEWHERE
    groups: list[list[int]] = []
    for number in sorted(lengths, key=lambda n: lengths[n]):
        size = len(groups[-1]) + 1 if groups else 1
        fits = size * lengths[number] <= rows if most is None else size <= most
        if groups and fits:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups


def alike(examples: Mapping[int, Example]) -> list[list[int]]:
    """Numbers of examples of which the same layers are explained."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, example in examples.items():
        groups.setdefault(tuple(layer.index for layer in example.layers), []).append(number)
    return list(groups.values())


def warn_left_out(number: int, text: object, error: LigflowError) -> None:
    """Warns (TextWarning) that a text is left out, and why."""
    warn(f"Text {number}{_start(text)} is left out: {error}", TextWarning)


@dataclass
class Tally:
    """Counts texts that are done; those at work count by the layers that they have behind them."""

    report: Done | None
    of: int
    done: int = 0
    _last: int = 0

    def at_work(self, texts: int) -> Done:
        """What is to hear of the layers of so many texts."""
        return lambda layers, of: self._tell(self.done + texts * layers // of)

    def add(self, texts: int) -> None:
        """So many texts more are done, or left out."""
        self.done += texts
        self._tell(self.done)

    def _tell(self, count: int) -> None:
        if self.report is not None and count > self._last:
            self._last = count
            self.report(count, self.of)


@contextmanager
def leaving_out(number: int, text: object, left_out: LeftOut) -> Iterator[None]:
    """Hands an error about one text to `left_out`, and goes on."""
    try:
        yield
    except LigflowError as error:
        left_out(number, text, error)


def _start(text: object) -> str:
    text = text.text if isinstance(text, Words) else text
    return f" ({text[:60]!r})" if isinstance(text, str) else ""


@dataclass(frozen=True, eq=False)
class Batching:
    """One question to many texts: `settings` that are computed together, layers and targets.

    `batch_size` is how many go through a layer together (None: as many as pay on the device); texts that are
    too long are cut with `truncate`. `on_example(number, example)` hears of each text that is explained.
    """

    model: PreparedModel
    settings: Sequence[Settings]
    layers: Layers | None
    targets: Names | None
    batch_size: int | None
    truncate: bool
    left_out: LeftOut
    on_example: OnExample | None = None

    def flows(self, texts: Iterable[Inputs], tally: Tally) -> Iterator[list[Flow]]:
        """For each text that is not left out, in their order, a flow for each of the settings."""
        for window in windows(texts):
            encoded = {}
            for number, text in window:
                with leaving_out(number, text, self.left_out):
                    encoded[number] = self.model.encode(text, self.truncate)
            tally.add(len(window) - len(encoded))
            flows: dict[int, list[Flow]] = {}
            lengths = {number: length_of(example.inputs) for number, example in encoded.items()}
            for group in by_length(lengths, self.batch_size, self.model.home.type):
                flows |= self._flows_of({number: encoded[number] for number in group}, tally)
            for number in sorted(flows):
                yield flows.pop(number)

    def _flows_of(self, encoded: dict[int, Encoded], tally: Tally) -> dict[int, list[Flow]]:
        """Flows by number. Where a group fails together its texts are tried one by one."""
        examples, routes = {}, every_route(self.settings)
        with exact_mode(self.model.home, self.settings[0].precision):
            copy = self.model.now()
            for number, example in encoded.items():
                with leaving_out(number, example.text, self.left_out):
                    examples[number] = self.model.example(example, routes, self.layers, self.targets, copy)
            tally.add(len(encoded) - len(examples))
            flows: dict[int, list[Flow]] = {}
            for group in alike(examples):
                try:
                    flows |= self._together({number: examples[number] for number in group}, tally)
                except (LigflowError, RuntimeError):
                    for number in group:
                        with leaving_out(number, examples[number].tokens.text, self.left_out):
                            flows |= self._together({number: examples[number]}, tally)
                tally.add(len(group))
            if self.on_example is not None:
                for number in flows:
                    self.on_example(number, examples[number])
        return flows

    def _together(self, examples: dict[int, Example], tally: Tally) -> dict[int, list[Flow]]:
        by_settings = compute(list(examples.values()), self.settings, tally.at_work(len(examples)))
        return {
            number: [
                assemble(example, results[position], settings, index=number)
                for settings, results in zip(self.settings, by_settings, strict=True)
            ]
            for position, (number, example) in enumerate(examples.items())
        }
