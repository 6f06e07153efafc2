"""What the first screen of a flow says: which sources stand aside, which map, target and layer are shown,
and the three sources that move that target most, in words.

A share is a cell over the sum of magnitudes of its row, taken over the sources that are shown. Special
tokens and sinks stand aside as sources, never as targets: they hold most of most rows, and say little about
the text.
"""

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import floor

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.inputs.labels import is_blank, trimmed
from ligflow.results.flow_data import FlowData
from ligflow.results.joint_sources import MARK
from ligflow.view.measure_words import whole_row
from ligflow.view.select import available, by_head, every_layer, knows_heads, row_shares

_SINK, _ROWS = 0.5, 3  # a sink holds more than this share of the rows that see it, of so many at least
_SENTENCES = 3
_WHOLE_INPUT = ("[CLS]", "<cls>")  # what a model's makers call the token that stands for the whole input
_WHOLE = 0.9  # where sources that are shown hold less of a row, a sentence gives the part of all, too


@dataclass(frozen=True)
class Finding:
    """What moves the target in a layer: a token with the head it passes through, or for `u2z` a head alone.

    `share` is of the sources that are shown, which hold the part `shown` of the row. `head` carries the
    largest part of the cell, None where the heads are not known; `under_half` tells that this is less than
    half.
    """

    layer: int
    source: int | None
    share: float
    head: int | None = None
    under_half: bool = False
    shown: float = field(default=1.0, compare=False)


@dataclass(frozen=True)
class Highlights:
    """How a flow is first shown. `special` and `sinks` are the sources that stand aside.

    `unranked` counts the punctuation that no finding names, though it moves the target.
    """

    view: str
    head: int | None
    target: int
    layer: int
    special: tuple[int, ...]
    sinks: tuple[int, ...]
    findings: tuple[Finding, ...]
    unranked: int

    @property
    def hidden(self) -> tuple[int, ...]:
        """The sources that stand aside."""
        return tuple(sorted({*self.special, *self.sinks}))


def highlights(
    flow: FlowData,
    view: str | None = None,
    head: int | None = None,
    target: int | None = None,
    *,
    every: bool = False,
) -> Highlights:
    """What the first screen of a flow shows, in one map and for one target; with `every` no source is hidden.

    By default the map is the first of `conserving`, `z2z`, `z2u` (all heads) and `u2z` that the flow has.
    """
    view = view or default_view(flow)
    maps = every_layer(flow, view, head).double()
    special, sinks = ((), ()) if every or view == "u2z" else aside(flow, maps)
    target = default_target(flow, maps) if target is None else target
    rows = maps[:, flow.targets.index(target)]
    shares = without(rows, {*special, *sinks})
    ranked, unranked = rankable(flow, view, target, {*special, *sinks}), 0
    if view != "u2z":
        left = {*range(len(flow.tokens))} - {*special, *sinks, *ranked, target}
        unranked = sum(bool(shares[:, source].any()) for source in left)
    best = _best(shares, ranked)
    findings = tuple(
        replace(
            _finding(flow, view, target, shares, row, column), shown=1 - held(rows[row], [*special, *sinks])
        )
        for row, column in best[:_SENTENCES]
    )
    layer = flow.layers[best[0][0]] if best else flow.layers[0]
    return Highlights(view, head, target, layer, special, sinks, findings, unranked)


def default_view(flow: FlowData) -> str:
    """Through the heads, else the direct map, else what the heads read, else which heads write."""
    return available(flow)[0]


def aside(
    flow: FlowData, maps: Float[Tensor, "layer target source"]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens and the sinks; neither where no source would be left.

    A sink is a token that is not special and holds on average more than half of a row: over all layers, and
    over all targets that see it, itself left out, at least 3 such rows. A row that does not move counts as 0.
    """
    special = tuple(place for place, mark in enumerate(flow.special) if mark)
    targets, sources = _positions(flow)
    sees = targets > sources if is_causal(flow, maps) else targets != sources
    rows = sees.sum(0) * len(flow.layers)
    mean = (row_shares(maps).abs() * sees).sum((0, 1)) / rows.clamp(min=1)
    taking = ((mean > _SINK) & (rows >= _ROWS)).nonzero().flatten().tolist()
    sinks = tuple(place for place in taking if place not in special)
    return (special, sinks) if len(special) + len(sinks) < len(flow.tokens) else ((), ())


def is_causal(flow: FlowData, maps: Float[Tensor, "layer target source"]) -> bool:
    """Whether no layer of the map has a cell whose source stands after its target, of 3 tokens or more."""
    targets, sources = _positions(flow)
    later = sources > targets
    return len(flow.tokens) >= 3 and not bool((maps != 0)[:, later].any())


def _positions(flow: FlowData) -> tuple[Int[Tensor, "target one"], Int[Tensor, " source"]]:
    targets = torch.tensor(flow.targets, device="cpu")[:, None]
    return targets, torch.arange(len(flow.tokens), device="cpu")


def default_target(flow: FlowData, maps: Float[Tensor, "layer target column"]) -> int:
    """The token that is shown first.

    In a causal flow the last that is neither special nor blank; otherwise token 0 where it is special ([CLS])
    and moves, else the last that is not special. Where there is none of them, the last target.
    """
    words = [target for target in flow.targets if not flow.special[target]]
    view = default_view(flow)
    if view != "u2z" and is_causal(flow, every_layer(flow, view, None)):
        readable = [target for target in words if not is_blank(flow.tokens[target])]
        return (readable or words or list(flow.targets))[-1]
    if flow.special[0] and 0 in flow.targets and bool(maps[:, flow.targets.index(0)].any()):
        return 0
    return (words or list(flow.targets))[-1]


def without(maps: Float[Tensor, "*row column"], hidden: Collection[int]) -> Float[Tensor, "*row column"]:
    """Shares of the columns that are shown; those of the hidden ones are 0."""
    kept = maps.clone()
    kept[..., list(hidden)] = 0
    return row_shares(kept)


def held(row: Float[Tensor, " column"], hidden: Sequence[int]) -> float:
    """What part of a row's magnitudes the hidden columns hold."""
    return float(row_shares(row.double())[list(hidden)].abs().sum())


def is_punctuation(token: str) -> bool:
    """Whether a token has no letter, digit or symbol."""
    shown = token.removeprefix(MARK) or token
    return is_blank(shown) or not any(unicodedata.category(letter)[0] in "LNS" for letter in shown)


def rankable(flow: FlowData, view: str, target: int, hidden: Collection[int]) -> list[int]:
    """The columns that a sentence may name: heads, or tokens that are shown, without marks and the target."""
    if view == "u2z":
        return list(range(flow.heads))
    return [
        place
        for place, token in enumerate(flow.tokens)
        if place != target and place not in hidden and not is_punctuation(token)
    ]


def _best(shares: Float[Tensor, "layer column"], ranked: list[int]) -> list[tuple[int, int]]:
    """For each column the layer where it has most, the largest first; ties by layer, then by column."""
    size = shares[:, ranked].abs()
    if not ranked:
        return []
    layers = (size == size.amax(0)).int().argmax(0).tolist()  # the first of equal ones
    cells = [
        (-float(size[layer, at]), layer, column)
        for at, (layer, column) in enumerate(zip(layers, ranked, strict=True))
    ]
    return [(layer, column) for most, layer, column in sorted(cells) if most]


def _finding(
    flow: FlowData, view: str, target: int, shares: Float[Tensor, "layer column"], row: int, column: int
) -> Finding:
    layer, share = flow.layers[row], float(shares[row, column])
    if view == "u2z":
        return Finding(layer, None, share, column)
    head, under_half = _head(flow, layer, target, column) if view == "conserving" else (None, False)
    return Finding(layer, column, share, head, under_half)


def _head(flow: FlowData, layer: int, target: int, source: int) -> tuple[int | None, bool]:
    """The head that carries most of a composed cell, and whether that is less than half.

    None where the composed map is of words, whose means over targets no head has.
    """
    if not knows_heads(flow):
        return None, False
    return _most(by_head(flow, layer, [flow.targets.index(target)])[:-1, 0, source])


def _most(parts: Float[Tensor, " head"]) -> tuple[int, bool]:
    size = parts.abs()
    head = int(size.argmax())
    return head, bool(size[head] < 0.5 * size.sum())


def heads_of_words(opening: Highlights, tokens: FlowData) -> Highlights:
    """The same findings about words, with their heads, which the flow of the words' tokens knows."""
    if opening.view != "conserving" or not knows_heads(tokens) or "words" not in tokens.meta:
        return opening  # of a decoder with an encoder: over both sets of sources words are not known
    words, findings = tokens.meta["words"], []
    rows = [row for row, target in enumerate(tokens.targets) if words[target] == opening.target]
    for finding in opening.findings:
        sources = [token for token, word in enumerate(words) if word == finding.source]
        parts = by_head(tokens, finding.layer, rows)[:-1, :, sources].sum((1, 2))
        head, under_half = _most(parts)
        findings.append(replace(finding, head=head, under_half=under_half))
    return replace(opening, findings=tuple(findings))


# --- in words -------------------------------------------------------------------------------------


def sentences(flow: FlowData, opening: Highlights) -> Iterator[str]:
    """The findings, a sentence each, and what they are shares of."""
    for finding in opening.findings:
        yield sentence(flow, opening, finding)
    if opening.findings:
        yield of_what(flow, opening)


def sentence(flow: FlowData, opening: Highlights, finding: Finding) -> str:
    """`‘France’ is 75% of what moves ‘is’ in layer 12, most of it through head 2`."""
    target, share = named(flow, opening.target), f"{100 * finding.share:.0f}%"
    of_all = f"{floor(100 * finding.share * finding.shown + 0.5)}% of all" if finding.shown < _WHOLE else ""
    if finding.source is None:
        verb = "writes" if finding.share > 0 else "takes from"
        return f"head {finding.head} {verb} {target} in layer {finding.layer} ({share})"
    source = named(flow, finding.source)
    if finding.share < 0:
        parts = ", ".join(filter(None, [share, of_all]))
        return f"{source} holds {target} back in layer {finding.layer} ({parts})"
    part = "the largest part" if finding.under_half else "most of it"
    through = "" if finding.head is None else f", {part} through head {finding.head}"
    whole = of_all and f" ({of_all})"
    row = whole_row(flow, target, "moves")
    return f"{source} is {share} of {row} in layer {finding.layer}{whole}{through}"


def of_what(flow: FlowData, opening: Highlights) -> str:
    """What the shares are shares of, who that is where no reader wrote it, and what they leave out."""
    left = f", {stands_aside(flow, opening)} aside" if opening.hidden else ""
    marks = f"; punctuation not ranked ({opening.unranked} left out)" if opening.unranked else ""
    return f"of {whole_row(flow, named(flow, opening.target))}{_in_front(flow, opening.target)}{left}{marks}"


def _in_front(flow: FlowData, token: int) -> str:
    """What a first token is that was put before the input."""
    if token or not flow.special[0]:
        return ""
    purpose = ", for the whole input" if trimmed(flow.tokens[0]) in _WHOLE_INPUT else ""
    return f" (put in front{purpose})"


def stands_aside(flow: FlowData, opening: Highlights) -> str:
    """`2 special tokens and the first token`."""
    count = len(opening.special)
    special = [f"{count} special token{'s' if count > 1 else ''}"] if count else []
    first = next((place for place, mark in enumerate(flow.special) if not mark), None)
    sinks = ["the first token" if sink == first else named(flow, sink) for sink in opening.sinks]
    return " and ".join([*special, *sinks])


def named(flow: FlowData, token: int) -> str:
    """`‘France’`; where several tokens are called so, with its place: `‘the’ (5)`."""
    label = trimmed(flow.tokens[token])
    place = f" ({token})" if sum(trimmed(other) == label for other in flow.tokens) > 1 else ""
    return f"‘{label}’{place}"
