"""Sentences of a dataset of the hub, or of a folder that the `datasets` library can load, as a stream."""

from collections.abc import Iterator
from typing import Any

from ligflow.corpus.columns import choose, sentence_of
from ligflow.corpus.sentence import BadLine, Sentence
from ligflow.errors import LigflowError


def read(
    name: str, column: str | None, split: str | None, subset: str | None
) -> Iterator[Sentence | BadLine]:
    """The sentences of `column` in a split (default: train), in the order of the dataset.

    Raises LigflowError if `datasets` is not installed or the dataset cannot be loaded.
    """
    rows = _stream(name, split or "train", subset)
    first = next(iter(rows), None)
    if first is None:
        raise LigflowError(f"The dataset {name!r} has no rows in split {split or 'train'!r}.")
    chosen = choose(list(first), column, name)
    return (sentence_of(number, f"{name}:row {number}", row.get(chosen)) for number, row in enumerate(rows))


def _stream(name: str, split: str, subset: str | None) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise LigflowError("Datasets of the hub need: pip install 'ligflow[datasets]'.") from error
    try:
        return datasets.load_dataset(name, subset, split=split, streaming=True)
    except Exception as error:  # the library raises whatever its loaders and its HTTP client do
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise LigflowError(
            f"The dataset {name!r} (subset {subset!r}, split {split!r}) cannot be loaded: {first}"
        ) from error
