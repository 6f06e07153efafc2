"""Sentences with words and heads: CoNLL-U, and Penn Treebank in Stanford-dependency text."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import conllu
from conllu.exceptions import ParseException

from ligflow.corpus.sources.columns import NO_TEXT
from ligflow.corpus.sources.documents import Source
from ligflow.corpus.sources.sentence import ROOT, BadLine, Sentence
from ligflow.inputs.words import Words

Block = list[tuple[int, str | None]]

_HEAD = re.compile(r"(\d+)-(.+)")
_CODES = {
    "-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}",
    "``": '"', "''": '"', "\\/": "/", "\\*": "*",
}  # fmt: skip
_CODE = re.compile("|".join(re.escape(code) for code in _CODES))


class _Bad(Exception):
    """What is wrong with a block, and in which of its lines."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line, self.problem = line, problem


def conllu_blocks(lines: Iterator[tuple[int, str | None]], name: str) -> Iterator[Sentence | BadLine]:
    """The sentences of a CoNLL-U file: surface words, and heads where HEAD is filled."""
    about = Source()
    for number, block in enumerate(_blocks(lines, comment="#")):
        about = about.following(block, name)
        try:
            yield replace(_of_conllu(number, block, name), document=about.document, genre=about.genre)
        except _Bad as bad:
            yield BadLine(number, f"{name}:{bad.line}", bad.problem)


def treebank(lines: Iterator[tuple[int, str | None]], name: str) -> Iterator[Sentence | BadLine]:
    """`word head-relation` a line, a blank line between sentences; heads count from 1, 0 is the root."""
    for number, block in enumerate(_blocks(lines)):
        try:
            yield _of_treebank(number, block, name)
        except _Bad as bad:
            yield BadLine(number, f"{name}:{bad.line}", bad.problem)


def _blocks(lines: Iterator[tuple[int, str | None]], comment: str | None = None) -> Iterator[Block]:
    """Lines between blank lines, without blocks of comments alone."""
    for blank, group in groupby(lines, key=lambda line: line[1] is not None and not line[1].strip()):
        block = list(group)
        if not blank and not (comment and all((line or "").startswith(comment) for _, line in block)):
            yield block


def _texts(block: Block) -> list[str]:
    for number, line in block:
        if line is None:
            raise _Bad(number, NO_TEXT)
    return [line for _, line in block if line is not None]


# --- Penn Treebank in Stanford-dependency text ----------------------------------------------------


def _of_treebank(number: int, block: Block, name: str) -> Sentence:
    forms, heads, relations = [], [], []
    for (line, _), text in zip(block, _texts(block), strict=True):
        parts = text.split()
        match = _HEAD.fullmatch(parts[1]) if len(parts) == 2 else None
        if match is None:
            raise _Bad(line, f"expected `word head-relation`, e.g. `buy 0-root`; found {text!r}")
        forms.append(_CODE.sub(lambda code: _CODES[code[0]], parts[0]))
        heads.append(int(match[1]) - 1)
        relations.append(match[2])
    first = block[0][0]
    _check_tree(heads, [line for line, _ in block])
    words = Words.joined(forms)
    return Sentence(number, words.text, f"{name}:{first}", words.spans, tuple(heads), tuple(relations))


def _check_tree(heads: Sequence[int], lines: Sequence[int]) -> None:
    """Every word hangs from the one root."""
    for head, line in zip(heads, lines, strict=True):
        if not ROOT <= head < len(heads):
            raise _Bad(line, f"its head is {head + 1}, and the sentence has {len(heads)} words")
    roots = sum(head == ROOT for head in heads)
    if roots != 1:
        raise _Bad(lines[0], f"the sentence has {roots} roots (heads that are 0); it must have one")
    for word, line in enumerate(lines):
        above, steps = word, 0
        while above != ROOT and steps <= len(heads):
            above, steps = heads[above], steps + 1
        if above != ROOT:
            raise _Bad(line, "its heads lead in a circle")


# --- CoNLL-U --------------------------------------------------------------------------------------


def _of_conllu(number: int, block: Block, name: str) -> Sentence:
    tokens, metadata = _parsed(block)
    lines = [line for line, text in block if text is not None and not text.startswith("#")]
    rows = list(zip(lines, tokens, strict=True))
    surface = _surface(rows)
    words = Words.joined([form for form, _, _ in surface], [space for _, space, _ in surface])
    text, spans = _as_written(metadata.get("text"), words)
    heads = _heads(rows)
    place = f"{name}:{block[0][0]}"
    if heads is None:
        return Sentence(number, text, place, spans)
    chosen, relations = _to_surface([members for _, _, members in surface], heads, rows)
    return Sentence(number, text, place, spans, chosen, relations)


def _parsed(block: Block) -> tuple[list[Any], dict[str, Any]]:
    for (line, _), text in zip(block, _texts(block), strict=True):
        cells = text.split("\t")
        if text.startswith("#"):
            continue
        if len(cells) != 10:
            raise _Bad(line, f"expected 10 columns separated by tabs, found {len(cells)}")
        if not cells[1].strip():
            raise _Bad(line, f"the word is blank: {cells[1]!r}")
    try:
        (parsed,) = conllu.parse("\n".join(_texts(block)) + "\n\n")
    except (ParseException, ValueError) as error:
        raise _Bad(block[0][0], f"no CoNLL-U sentence: {error}") from error
    return list(parsed), dict(parsed.metadata)


def _surface(rows: Sequence[tuple[int, Any]]) -> list[tuple[str, bool, list[int]]]:
    """Words as they are written: form, whether a blank follows, and the ids of their syntactic words.

    A multiword token whose words make up its form (do + n't) is several words, another (du = de + le) one.
    """
    words: list[tuple[str, bool, list[int]]] = []
    within = 0
    forms = {token["id"]: token["form"] for _, token in rows if isinstance(token["id"], int)}
    for line, token in rows:
        place, form = token["id"], token["form"]
        blank = (token["misc"] or {}).get("SpaceAfter") != "No"
        if isinstance(place, int):
            if place > within:
                words.append((form, blank, [place]))
        elif place[1] == "-":
            members, within = list(range(place[0], place[2] + 1)), place[2]
            if any(member not in forms for member in members):
                raise _Bad(line, f"the range {place[0]}-{place[2]} has no lines for all of its words")
            parts = [forms[member] for member in members]
            if "".join(parts) == form:
                words += [(part, False, [member]) for part, member in zip(parts, members, strict=True)]
                words[-1] = (parts[-1], blank, [members[-1]])
            else:
                words.append((form, blank, members))
    if [member for _, _, members in words for member in members] != list(range(1, len(forms) + 1)):
        raise _Bad(rows[0][0] if rows else 0, "the ids of the words are not 1, 2, 3, ...")
    return words


def _as_written(text: str | None, words: Words) -> tuple[str, tuple[tuple[int, int], ...]]:
    """`# text` where the words, in order and with nothing but blanks between, are in it."""
    if text is None:
        return words.text, words.spans
    spans, at = [], 0
    for begin, end in words.spans:
        form = words.text[begin:end]
        at += len(text[at:]) - len(text[at:].lstrip())
        if not text.startswith(form, at):
            return words.text, words.spans
        spans.append((at, at + len(form)))
        at += len(form)
    return (text.strip(), tuple(spans)) if not text[at:].strip() else (words.text, words.spans)


def _heads(rows: Sequence[tuple[int, Any]]) -> list[int] | None:
    """Heads of the syntactic words, counted from 0; None where the sentence has none."""
    words = [(line, token) for line, token in rows if isinstance(token["id"], int)]
    numbers = [token["head"] for _, token in words]
    if all(head is None for head in numbers):
        return None
    for (line, _), head in zip(words, numbers, strict=True):
        if head is None:
            raise _Bad(line, "HEAD is missing here and given elsewhere in the sentence")
    heads = [head - 1 for head in numbers]
    _check_tree(heads, [line for line, _ in words])
    return heads


def _to_surface(
    members: Sequence[Sequence[int]], heads: Sequence[int], rows: Sequence[tuple[int, Any]]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Heads and relations of surface words: of a joined word those of its member whose head is outside."""
    owner = {member - 1: place for place, group in enumerate(members) for member in group}
    relations = {token["id"]: token["deprel"] or "_" for _, token in rows if isinstance(token["id"], int)}
    chosen, names = [], []
    for place, group in enumerate(members):
        outside = [m for m in group if heads[m - 1] == ROOT or owner[heads[m - 1]] != place]
        head = heads[outside[0] - 1]
        chosen.append(ROOT if head == ROOT else owner[head])
        names.append(relations[outside[0]])
    return tuple(chosen), tuple(names)
