"""What the builder of the site passes over: images, pages outside the menu, the README and the notebooks.

Links between pages and their anchors are checked by `make docs`.
"""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = [page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md")]
NOTEBOOKS = [notebook.relative_to(ROOT).as_posix() for notebook in (ROOT / "examples").glob("*.ipynb")]
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(\s*([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("page", ["README.md", *NOTEBOOKS, *DOCS])
def test_relative_links_and_images_lead_to_files(page: str) -> None:
    text = CODE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    paths = [(ROOT / page).parent / link for link in LINK.findall(text) if ":" not in link]
    assert [path for path in paths if not path.exists()] == []


def test_links_are_found() -> None:
    found = {
        page: len(LINK.findall((ROOT / page).read_text(encoding="utf-8")))
        for page in ("README.md", *NOTEBOOKS)
    }
    assert found["README.md"] > 20
    assert min(found.values()) > 0


def test_every_page_is_in_the_menu() -> None:
    menu = re.findall(r"^ +- .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(f"docs/{page}" for page in menu) == sorted(DOCS)


def test_the_list_for_language_models_is_of_these_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "scripts"))
    made = importlib.import_module("llms").made()
    assert (ROOT / "docs" / "llms.txt").read_text(encoding="utf-8") == made, "python docs/scripts/llms.py"
    assert sorted(f"docs/{page}" for page in re.findall(r"\]\((\S+\.md)\)", made)) == sorted(
        {*DOCS} - {"docs/index.md"}
    )
