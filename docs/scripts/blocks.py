"""Replaces what stands between `<!-- begin NAME -->` and `<!-- end NAME -->` in a page written by hand."""

import re
from collections.abc import Mapping
from pathlib import Path


def put(page: Path, blocks: Mapping[str, str]) -> None:
    """Puts the blocks that the page has into it."""
    text = page.read_text(encoding="utf-8")
    for name, block in blocks.items():
        edges = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.S)
        text = edges.sub(lambda match, block=block: f"{match[1]}\n{block}\n\n{match[2]}", text)
    page.write_text(text, encoding="utf-8")
    print(f"wrote {page}")
