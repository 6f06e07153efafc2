"""A sentence as a row of a table, and back."""

from collections.abc import Mapping
from typing import Any

from ligflow.corpus.sources.sentence import Sentence


def row_of(sentence: Sentence) -> dict[str, Any]:
    """A sentence as a row of the table of sentences (see `schema.CORPUS`)."""
    spans = None if sentence.spans is None else [edge for span in sentence.spans for edge in span]
    return {
        "sentence": sentence.number, "text": sentence.text, "place": sentence.place, "spans": spans,
        "heads": sentence.heads, "relations": sentence.relations, "document": sentence.document,
        "genre": sentence.genre,
    }  # fmt: skip


def sentence_of(row: Mapping[str, Any]) -> Sentence:
    """The sentence of a row."""
    edges = row["spans"]
    spans = None if edges is None else tuple(zip(edges[::2], edges[1::2], strict=True))
    heads, relations = (None if row[name] is None else tuple(row[name]) for name in ("heads", "relations"))
    return Sentence(
        row["sentence"], row["text"], row["place"], spans, heads, relations, row["document"], row["genre"]
    )
