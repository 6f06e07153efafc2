"""Which sentences of a run are drawn together by a bootstrap, and of which genres they are.

Sentences of one document are alike, so documents are drawn where a corpus has several.
"""

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

from ligflow.corpus.runs.store import Run
from ligflow.corpus.sources.sentence import Sentence


def clusters_of(run: Run, genre: str | None = None) -> dict[int, int]:
    """The cluster of each sentence of a run, of a genre or all; see `by_document`."""
    every = (sentence for shard in run.done for sentence in run.sentences(shard))
    return by_document(sentence for sentence in every if genre is None or sentence.genre == genre)


def by_document(sentences: Iterable[Sentence]) -> dict[int, int]:
    """The cluster of each sentence by its number: its document; itself where all are of one document."""
    every = list(sentences)
    apart = len({sentence.document for sentence in every}) > 1
    return {sentence.number: _of_document(sentence) if apart else sentence.number for sentence in every}


def _of_document(sentence: Sentence) -> int:
    """A number of its own for each document, in whatever shard it is; else the sentence's number."""
    if sentence.document is None:
        return sentence.number
    return int.from_bytes(blake2b(sentence.document.encode(), digest_size=7).digest())


def genres(run: Run) -> tuple[str, ...]:
    """The genres of the explained sentences, those of most sentences first; none without any."""
    count: Counter[str | None] = Counter()
    for shard in run.done:
        explained = {row["sentence"] for row in run.table(shard, "sentences").to_pylist() if row["tokens"]}
        count.update(sentence.genre for sentence in run.sentences(shard) if sentence.number in explained)
    return tuple(genre for genre, _ in count.most_common() if genre is not None)
