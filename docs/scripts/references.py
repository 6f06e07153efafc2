"""Makes docs/reference/references.md of docs/references.bib. Run: python docs/scripts/references.py

A page or a docstring cites an entry by its key in square brackets, `[sundararajan2017]`; tests see to it that
the key exists.
"""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1]
PAGE = DOCS / "reference" / "references.md"
ENTRY = re.compile(r"^@(\w+)\{(\w+),\n((?:  .*\n)+)\}$", re.MULTILINE)
FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)
HEAD = """# References

What the pages and the code cite, each by its key. Made by `python docs/scripts/references.py` of
[references.bib](../references.bib).

"""


def entries() -> dict[str, dict[str, str]]:
    """The fields of every entry, by its key."""
    text = (DOCS / "references.bib").read_text(encoding="utf-8")
    return {key: dict(FIELD.findall(fields)) for _, key, fields in ENTRY.findall(text)}


def names(authors: str) -> str:
    """`Abnar, Samira and Zuidema, Willem` as `Samira Abnar and Willem Zuidema`."""
    *first, last = [" ".join(reversed(name.split(", "))) for name in authors.split(" and ")]
    return f"{', '.join(first)} and {last}" if first else last


def where(entry: dict[str, str]) -> str:
    """Where it was published, and a link to it."""
    venue = [entry[name] for name in ("journal", "booktitle", "publisher", "institution") if name in entry]
    links = {
        "eprint": "[arXiv:{0}](https://arxiv.org/abs/{0})",
        "doi": "[doi:{0}](https://doi.org/{0})",
        "url": "<{0}>",
    }
    return ". ".join([*venue, *(link.format(entry[name]) for name, link in links.items() if name in entry)])


def line(key: str, entry: dict[str, str]) -> str:
    title = re.sub(r"[{}]", "", entry["title"]).replace("*", "\\*")
    parts = [f"{names(entry['author'])} ({entry['year']})", f"*{title}*", where(entry)]
    return f'<a id="{key}"></a>**{key}**: {". ".join(filter(None, parts))}'.rstrip(".") + ".\n"


def page() -> str:
    return HEAD + "\n".join(line(key, entry) for key, entry in sorted(entries().items()))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
