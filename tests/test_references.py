"""Every work that the code or a page cites stands in docs/references.bib."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "scripts"))

from references import PAGE, entries, page  # noqa: E402

BIBLIOGRAPHY = (ROOT / "docs" / "references.bib").read_text(encoding="utf-8")
CITED = re.compile(r"\[([a-z]+[12]\d{3})\]")


def citations() -> dict[str, Path]:
    """Every key that is cited, and a file that does."""
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    return {key: file for file in files for key in CITED.findall(file.read_text(encoding="utf-8"))}


def test_what_is_cited_exists() -> None:
    cited = citations()
    assert {"suzuki2026", "patterson1968", "bach2015"} <= cited.keys()
    assert {key: file for key, file in cited.items() if key not in entries()} == {}


def test_entries_are_whole_and_their_keys_single() -> None:
    keys = re.findall(r"^@\w+\{(.*),$", BIBLIOGRAPHY, re.MULTILINE)
    assert list(entries()) == keys  # all are read, none twice
    for key, entry in entries().items():
        assert {"author", "title", "year"} <= entry.keys(), key
        surname = re.sub(r"\W", "", entry["author"].split(",")[0].lower())
        plain = surname.replace("ö", "oe").replace("á", "a")
        assert key == plain + entry["year"]


def test_the_page_is_the_one_of_the_bibliography() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python docs/scripts/references.py"
