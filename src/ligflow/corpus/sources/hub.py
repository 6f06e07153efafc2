"""Rows of a dataset of the hub, or of a folder that the `datasets` library can load, as a stream."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ligflow.corpus.sources.columns import Kind, Reading
from ligflow.corpus.sources.sentence import BadLine
from ligflow.errors import LigflowError
from ligflow.extras import need

_URI = re.compile(
    r"hf://datasets/(?P<name>[^/@]+(/[^/@]+)?)(@(?P<revision>refs/[^/]+/[^/]+|[^/]+))?(/(?P<file>.+))?"
)


@dataclass(frozen=True)
class Dataset:
    """A dataset, and where they are given its revision and one of its files."""

    name: str
    revision: str | None = None
    file: str | None = None


def dataset_of(source: str) -> Dataset:
    """The dataset of `hf:NAME`, or of an address `hf://datasets/ORG/NAME[@REVISION][/FILE]`.

    Raises LigflowError for an address of something else.
    """
    if not source.startswith("hf://"):
        return Dataset(source.removeprefix("hf:"))
    address = _URI.fullmatch(source.rstrip("/"))
    if address is None:
        raise LigflowError(
            f"{source!r} is no dataset of the hub; give hf:ORG/NAME or hf://datasets/ORG/NAME."
        )
    return Dataset(address["name"], address["revision"], address["file"])


def read(
    dataset: Dataset, reading: Reading[Kind], split: str | None, subset: str | None
) -> Iterator[Kind | BadLine]:
    """What the rows of a split (default: train) hold, in the order of the dataset.
    Raises LigflowError if `datasets` is not installed or the dataset cannot be loaded.
    """
    name = dataset.name
    rows = _stream(dataset, split or "train", subset)
    first = next(iter(rows), None)
    if first is None:
        raise LigflowError(f"The dataset {name!r} has no rows in split {split or 'train'!r}.")
    chosen, of_row = reading.of_columns(list(first), name)
    return (
        of_row(number, f"{name}:row {number}", {column: row.get(column) for column in chosen})
        for number, row in enumerate(rows)
    )


def _stream(dataset: Dataset, split: str, subset: str | None) -> Any:
    need("datasets", "A dataset of the hub")
    import datasets

    try:
        return datasets.load_dataset(
            dataset.name, subset, split=split, streaming=True, revision=dataset.revision,
            data_files=dataset.file,
        )  # fmt: skip
    except Exception as error:  # the library raises whatever its loaders and its HTTP client do
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise LigflowError(
            f"The dataset {dataset.name!r} (subset {subset!r}, split {split!r}) cannot be loaded: {first}"
        ) from error
