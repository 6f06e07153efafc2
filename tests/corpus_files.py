"""Corpora as files, and what is read from them."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from ligflow.corpus.sources.readers import read
from ligflow.corpus.sources.sentence import Sentence

zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def written(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def words_of(one: Sentence) -> list[str]:
    assert one.spans is not None
    return [one.text[begin:end] for begin, end in one.spans]


def sentences(source: str, **options: Any) -> list[Sentence]:
    found = list(read(source, **options))
    assert all(isinstance(one, Sentence) for one in found), found
    return [one for one in found if isinstance(one, Sentence)]
