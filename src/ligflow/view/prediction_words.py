"""What screens and pages say of a prediction: what was asked, what adds up, what is strongest."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import copysign

import torch
from torch import Tensor

from ligflow.inputs.character_pieces import in_a_row
from ligflow.inputs.labels import printable, told_apart, trimmed
from ligflow.method.attention_parts import PARTS as SPLIT
from ligflow.results.neurons import strongest_units, unit_called
from ligflow.results.prediction_data import PredictionData
from ligflow.results.prediction_paths import parts_at
from ligflow.results.span_relevance import SpanRelevance, by

CAVEAT = "relevance says what the change between the two runs is made of, not what removing a word would do"
KEPT = "kept, the same in both runs"
LEGEND = "blue speaks for the answer, orange against it"
SHARES = "shares are of all that speaks for and against"
READS = "what a head reads is known of the layers whose edges were kept (edges=, --edges)"
UNITS = {  # of a score, and of what it is made of
    "logprob": "relevance and error are in nats (natural logarithm): +0.69 doubles the probability",
    "logit": "relevance and error are in logits",
    "contrast": "relevance and error are in logits: +0.69 doubles the odds of the one against the other",
}
PARTS = "a part has what passes through it, so layers do not add up"
_ENDS, _BLANKS = str.maketrans({"\n": "⏎", "Ċ": "⏎"}), str.maketrans("Ġ▁", "  ")
_SECOND = "second attention, head"
_OUTPUTS = 3  # likeliest outputs of a run that are named


@dataclass(frozen=True)
class Part:
    """A head or an MLP at a token; `source` is what the head reads there most.

    `share` is how much of all that it reads, below 0 where the source goes against the head's sum; `split`
    are value, key and query of it, where they are stored.
    """

    layer: int
    kind: str
    head: int | None
    position: int
    relevance: float
    source: int | None = None
    share: float = 0.0
    split: Mapping[str, float] = field(default_factory=dict)


def summary(prediction: PredictionData) -> str:
    """The prediction in one line, for programmers."""
    missed = len(prediction.unmet)
    met = f"{missed} segments miss what they may" if missed else "all segments within what they may"
    return (
        f"{type(prediction).__name__}({len(prediction.tokens)} tokens, {len(prediction.layer_names)} layers, "
        f"model {prediction.meta.get('model')!r}, value {prediction.value:.4g}, "
        f"reference_value {prediction.reference_value:.4g}, change {prediction.change:+.4g}, "
        f"certificate {prediction.certificate:.1e}, estimated error {relative_error(prediction):.1e}, {met})"
    )


def said(prediction: PredictionData) -> Iterator[str]:
    """What the model says in both runs, what was asked of them, and in which unit that is answered."""
    if prediction.top:
        yield f"{model_called(prediction)} says {outputs(prediction.top)}"
    spoken = f" it says {outputs(prediction.reference_top)}" if prediction.reference_top else ""
    yield f"{'with' if spoken else 'compared with'} {reference_called(prediction)}{spoken}"
    yield f"asked: {asked(prediction)}"
    totals = prediction.meta.get("totals", [])
    if len(totals) > 1:
        each = ", ".join(f"{total:+.3g}" for total in totals)
        yield f"the mean over {len(totals)} references, with which it changes by {each}"
    settings = prediction.meta.get("settings", {})
    unit = UNITS.get("contrast" if settings.get("contrast") is not None else settings.get("score", ""))
    if unit and prediction.meta.get("question"):
        yield unit


def asked(prediction: PredictionData) -> str:
    """What was asked of both runs, and what they answer."""
    return (
        f"{question_called(prediction)}: {prediction.value:.4g}, and "
        f"{prediction.reference_value:.4g} with the reference, a change of {prediction.change:+.4g}"
    )


def model_called(prediction: PredictionData) -> str:
    """`the model (embedded:smollm2)`, by name where it has one."""
    name = prediction.meta.get("model")
    return f"the model ({printable(str(name))})" if name else "the model"


def question_called(prediction: PredictionData) -> str:
    """The score in words: `log-probability of ‘ Paris’`, `logits, Paris rather than Rome`."""
    row, settings = prediction.meta.get("question"), prediction.meta.get("settings", {})
    if not row:
        return "the score"
    name = printable(plain(str(row)))
    if settings.get("contrast") is not None:
        return f"{name.strip()} (difference of their logits)"
    called = {"logprob": "log-probability", "logit": "logit"}.get(settings.get("score", ""))
    return f"{called} of ‘{name}’" if called else name


def reference_called(prediction: PredictionData) -> str:
    """What the real run is compared with, in words."""
    name, tokens = prediction.meta.get("reference"), prediction.meta.get("reference_tokens")
    if not name:
        return "the reference"
    if len(prediction.meta.get("totals", [])) > 1:
        return f"{len(prediction.meta['totals'])} references ({printable(str(name))}, ...)"
    moved = zip(tokens or (), prediction.kept, strict=False)
    instead = sorted({token for token, still in moved if not still})
    if name == "neutral":
        return f"‘{trimmed(instead[0])}’ for every word" if len(instead) == 1 else "a neutral input"
    if str(name).startswith("random"):
        return "random words"
    return "the mean of all words for every word" if name == "mean" else f"‘{trimmed(str(name))}’"


def outputs(top: Sequence[tuple[str, float]]) -> str:
    """The likeliest outputs with their probabilities."""
    named = ((printable(plain(text)), share) for text, share in top[:_OUTPUTS])
    return ", ".join(f"‘{text}’ {percent(share)}" for text, share in named)


def percent(share: float) -> str:
    """A share in per cent; more exactly where it is small, so that no part is called 0."""
    size = abs(100 * share)
    if 0 < size < 0.01:
        return "<0.01%" if share > 0 else ">-0.01%"
    return f"{100 * share:.{0 if size >= 0.95 or not size else 1 if size >= 0.095 else 2}f}%"


def adds_up(prediction: PredictionData) -> str:
    """The sum of the relevances beside what it should be, and what they are off."""
    total, error = float(prediction.relevance.sum()), percent(relative_error(prediction))
    sums = f"the {units_called(prediction)}s add up to {total:+.4g} of {prediction.change:+.4g}"
    return f"{sums}; estimated error {error} of what speaks for and against"


def shares_said(prediction: PredictionData) -> str:
    """What shares are of, and that those of heads and MLPs do not add up where there are some."""
    return f"{SHARES}; {PARTS}" if prediction.heads or prediction.mlps else SHARES


def relative_error(prediction: PredictionData) -> float:
    """What the tokens are estimated to be off in all, over the scale."""
    return float(prediction.error.abs().sum()) / prediction.scale


def within_tolerance(prediction: PredictionData) -> bool:
    """Whether all is as exact as it was asked for, by estimate and by its sums; not if that is unknown."""
    tol = prediction.meta.get("settings", {}).get("tol")
    return tol is not None and max(relative_error(prediction), abs(prediction.certificate)) <= tol


def missed(prediction: PredictionData) -> Iterator[str]:
    """What was not integrated as exactly as it should be, where that matters to the whole, and notes."""
    unmet = prediction.unmet
    if unmet and not within_tolerance(prediction):
        worst = max(unmet, key=lambda segment: segment.error / (segment.allowance or 1.0))
        count = f"{len(unmet)} of {len(prediction.certificates)} segments"
        note = f": {printable(worst.note)}" if worst.note else ""
        yield (
            f"{count} are less exact than they should be, most of all {printable(worst.name)} "
            f"({worst.error:.1e} where {worst.allowance:.1e} is allowed, {worst.points} points{note})"
        )
    for note in prediction.meta.get("notes", []):
        yield f"note: {printable(note)}"


def kept(prediction: PredictionData, most: int = 6) -> str:
    """The tokens that are the same in both runs, if there are any; a line."""
    places = [place for place, still in enumerate(prediction.kept) if still]
    if not places:
        return ""
    names = ", ".join(f"‘{shown(prediction.tokens[place])}’" for place in places[:most])
    more = f" and {len(places) - most} more" if len(places) > most else ""
    return f"{KEPT}: {names}{more}"


def label(prediction: PredictionData, place: int) -> str:
    """A token in quotation marks; where several are called so, with its place: `‘the’ (5)`."""
    names = [shown(token) for token in prediction.tokens]
    return f"‘{names[place]}’" + (f" ({place})" if names.count(names[place]) > 1 else "")


def plain(token: str) -> str:
    """A token with ends of lines as ⏎, and blanks alone as blanks, however vocabularies write them."""
    return token.translate(_BLANKS) if not token.strip("Ġ▁ ") else token.translate(_ENDS)


def called_apart(every: Sequence[SpanRelevance]) -> list[str]:
    """What words or regions are called; those that are called alike with the place of their first token."""
    names = [shown(unit.name) for unit in every]
    return [
        f"{name} ({unit.positions[0]})" if names.count(name) > 1 and unit.positions else name
        for name, unit in zip(names, every, strict=True)
    ]


def tokens_called(tokens: Sequence[str]) -> list[str]:
    """Tokens as columns are called: without blanks around them where that tells them apart."""
    return told_apart([plain(token) for token in tokens])


def number(value: float) -> str:
    """A relevance with its sign and three digits."""
    return f"{value:+#.3g}".rstrip(".")


def shown(token: str) -> str:
    """A token without the blanks around it, printable; the end of a line as ⏎."""
    return trimmed(plain(token))


# --- words ----------------------------------------------------------------------------------------


def units_called(prediction: PredictionData) -> str:
    """What is added up and shown: words where they are known, else tokens."""
    return "word" if prediction.meta.get("words") is not None else "token"


def units(prediction: PredictionData) -> list[SpanRelevance]:
    """The words, or the tokens where no words are known, in the order of the text."""
    if units_called(prediction) == "word":
        return by(prediction, "words")
    errors, kept_marks = prediction.error.tolist(), prediction.kept
    values = zip(prediction.tokens, prediction.relevance.tolist(), errors, kept_marks, strict=True)
    return [
        SpanRelevance(token, (place,), relevance, error, still)
        for place, (token, relevance, error, still) in enumerate(values)
    ]


def shares_of_strongest(prediction: PredictionData) -> list[float]:
    """Of every token its word's relevance over that of the strongest word."""
    every = units(prediction)
    most = max(abs(unit.relevance) for unit in every) or 1.0
    shares = [0.0] * len(prediction.tokens)
    for unit in every:
        for place in unit.positions:
            shares[place] = unit.relevance / most
    return shares


def running(tokens: Sequence[str]) -> list[str]:
    """Tokens as they follow each other in a text, with blanks; further pieces of a character are dots."""
    pieces = in_a_row(tokens, "·")
    if not any(token.startswith(" ") for token in tokens):
        pieces = [token.removeprefix("##") if token.startswith("##") else f" {token}" for token in tokens]
    return [printable(plain(piece)) for piece in pieces]


# --- heads and MLPs -------------------------------------------------------------------------------


def strongest(
    prediction: PredictionData, count: int, neurons: int | None = None
) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """What is strongest, in words with its relevance: heads, MLPs, hidden units, changes of experts, parts.

    Of hidden units `neurons` are named where that is given.
    """
    for title, parts in (
        ("strongest heads", strongest_heads(prediction, count)),
        ("strongest MLPs", strongest_mlps(prediction, count)),
        ("strongest changes of experts", strongest_jumps(prediction, count)),
    ):
        if parts:
            yield title, [(in_words(prediction, part), part.relevance) for part in parts]
        if title == "strongest MLPs" and prediction.stored_neurons:
            yield (
                "strongest hidden units (reference → input)",
                strongest_neurons(prediction, neurons or count),
            )
    for name in SPLIT if prediction.parts else ():
        edges = strongest_of_part(prediction, name, count)
        if edges:
            said = [(of_part_in_words(prediction, name, part), part.relevance) for part in edges]
            yield f"strongest by {name}", said


def strongest_heads(prediction: PredictionData, count: int) -> list[Part]:
    """The heads at a token with the most relevance, of whichever sign."""
    own = _parts(prediction.heads, "head", count)
    cross = _parts(prediction.cross_heads, _SECOND, count)
    best = sorted([*own, *cross], key=lambda part: -abs(part.relevance))[:count]
    return [_with_source(prediction, part) for part in best]


def strongest_of_part(prediction: PredictionData, name: str, count: int) -> list[Part]:
    """The edges with the largest value, key or query, of whichever sign; `relevance` is that part."""
    number, best = SPLIT.index(name), []
    for layer, parts in prediction.parts.items():
        own = len(prediction.heads.get(layer, ()))
        flat = parts[number].flatten()
        for place in flat.abs().topk(min(count, flat.numel())).indices.tolist():
            head, target, source = map(int, torch.unravel_index(torch.tensor(place), parts.shape[1:]))
            kind, first = ("head", 0) if head < own else (_SECOND, own)
            if float(flat[place]):
                best.append(Part(layer, kind, head - first, target, float(flat[place]), source))
    return sorted(best, key=lambda part: -abs(part.relevance))[:count]


def of_part_in_words(prediction: PredictionData, name: str, part: Part) -> str:
    """`layer 20, head 3 at ‘is’ reads ‘France’`, `finds ‘France’ by its key`, `asks for ‘France’`."""
    assert part.source is not None
    source = label(prediction, part.source)
    said = {"value": f"reads {source}", "key": f"finds {source} by its key", "query": f"asks for {source}"}
    return f"{in_words(prediction, replace(part, source=None))} {said[name]}"


def strongest_mlps(prediction: PredictionData, count: int) -> list[Part]:
    """The MLPs at a token with the most relevance, of whichever sign."""
    return _parts(prediction.mlps, "MLP", count)


def strongest_neurons(prediction: PredictionData, count: int) -> list[tuple[str, float]]:
    """The hidden units with the most relevance among those that are stored, with what they are in both runs.

    `layer 24, unit 1005 at ‘is’ (0.163 → -19.2)`: in the reference run, and in the real one.
    """
    best = [
        (layer, *place)
        for layer, relevance in prediction.stored_neurons.items()
        for place in strongest_units(relevance, count)
    ]
    said = []
    for layer, position, unit, relevance in sorted(best, key=lambda each: -abs(each[3]))[:count]:
        own, other = prediction.stored_activations[layer][:, position, unit].tolist()
        name = unit_called(prediction.unit_groups(layer), unit)
        where = f"{layer_called(prediction, layer)}, {name} at {label(prediction, position)}"
        said.append((f"{where} ({other:.3g} → {own:.3g})", relevance))
    return said


def strongest_jumps(prediction: PredictionData, count: int) -> list[Part]:
    """The tokens whose experts change between the runs, by what that contributes."""
    return _parts(prediction.routing, "a change of experts", count)


def in_words(prediction: PredictionData, part: Part) -> str:
    """`layer 20, head 3 at ‘is’ reads 81% from ‘France’`.

    With parts: `layer 28, head 2 at ‘az’ reads ‘qu’ (value +1.2), finds it by its key (+0.5), was asked by
    ‘az’ (+0.3)`.
    """
    head = "" if part.head is None else f" {part.head}"
    where = f"{layer_called(prediction, part.layer)}, {part.kind}{head} at {label(prediction, part.position)}"
    if part.source is None:
        return where
    source = label(prediction, part.source)
    if part.split:
        value, key, query = map(number, part.split.values())
        read = f"reads {source} (value {value}), finds it by its key ({key})"
        return f"{where} {read}, was asked by {label(prediction, part.position)} ({query})"
    rest = "" if part.share >= 0 else ", against the rest"
    return f"{where} reads {percent(abs(part.share))} from {source}{rest}"


def layer_called(prediction: PredictionData, layer: int) -> str:
    """A layer by its number, and by its name where there are several stacks."""
    several = len(prediction.streams) > 1 and layer < len(prediction.layer_names)
    return f"layer {layer} ({prediction.layer_names[layer]})" if several else f"layer {layer}"


def _parts(by_layer: Mapping[int, Tensor], kind: str, count: int) -> list[Part]:
    best = []
    for layer, values in by_layer.items():
        flat = values.flatten()
        for place in flat.abs().topk(min(count, flat.numel())).indices.tolist():
            head, position = divmod(place, values.shape[-1])
            if float(flat[place]):
                number = head if values.ndim == 2 else None
                best.append(Part(layer, kind, number, position, float(flat[place])))
    return sorted(best, key=lambda part: -abs(part.relevance))[:count]


def _with_source(prediction: PredictionData, part: Part) -> Part:
    """The same with what the head reads most, where its edges are stored."""
    edges = prediction.stored_edges.get(part.layer)
    if edges is None or part.head is None:
        return part
    first = 0 if part.kind == "head" else len(prediction.heads.get(part.layer, ()))
    row = edges[first + part.head, part.position]
    if part.layer in prediction.parts:  # what the query does is the target's own, and stands at what it found
        row = prediction.parts[part.layer][:, first + part.head, part.position].sum(0)
    source = int(row.abs().argmax())
    share = copysign(float(row[source]), float(row[source]) * part.relevance)
    share /= float(row.abs().sum()) or 1.0
    split = parts_at(prediction, part.layer, first + part.head, part.position, source)
    return replace(part, source=source, share=share, split=split)
