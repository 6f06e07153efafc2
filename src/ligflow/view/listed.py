"""A table of a page: a name for each column, numbers to the right. All text is escaped."""

from collections.abc import Iterable, Sequence
from html import escape


def listed(head: Sequence[str], rows: Iterable[Sequence[str]], texts: Sequence[str] = ()) -> str:
    """A table with a name for each column; the first, and those named in `texts`, hold no numbers."""
    kinds = ["" if name in (head[0], *texts) else ' class="number"' for name in head]
    titles = "".join(
        f'<th{kind} scope="col">{escape(name)}</th>' for kind, name in zip(kinds, head, strict=True)
    )
    lines = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table class="list"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>\n"
    )
