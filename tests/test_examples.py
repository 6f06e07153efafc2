"""The notebooks in `examples/`: they run, and what is kept in them is fit to be read."""

import html
import re
import runpy
from pathlib import Path
from typing import Any

import nbformat
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def code_of(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the notebook machinery; cells run in a process of their own
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs_and_its_assertions_hold(path: Path) -> None:
    run = runpy.run_path(str(EXAMPLES / "refresh.py"))["run"]
    fresh, kept = code_of(run(path)), code_of(nbformat.read(path, as_version=4))
    assert [cell.execution_count for cell in fresh] == list(range(1, len(fresh) + 1))
    for cell, before in zip(fresh, kept, strict=True):
        assert [out.output_type for out in cell.outputs] == [out.output_type for out in before.outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_kept_outputs_are_whole_small_and_of_no_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code_of(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [out for cell in cells for out in cell.outputs]
    assert {out.output_type for out in outputs} <= {"stream", "execute_result", "display_data"}
    assert {out.get("name", "stdout") for out in outputs} == {"stdout"}
    assert any("image/png" in out.get("data", {}) for out in outputs)
    text = path.read_text(encoding="utf-8")
    assert len(text) < 300_000
    assert not re.search(r"(/home/|/root/|/tmp/|/Users/|site-packages)", text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_notebooks_lead_somewhere(path: Path) -> None:
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    links = re.findall(r"\]\(([^)#]+)(?:#([^)]*))?\)", text)
    assert links
    for link, anchor in links:
        page = (EXAMPLES / link).resolve()
        assert page.is_file(), link
        headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert not anchor or anchor in {re.sub(r"[^\w]+", "-", one.lower()).strip("-") for one in headings}


@pytest.mark.slow
def test_the_demo_site_leads_to_every_page_and_escapes_texts(tmp_path: Path) -> None:
    site = runpy.run_path(str(EXAMPLES / "demo_site.py"))
    main, pages = site["main"], ("why-capital.html", "layers-<b>.html")
    main.__globals__.update(
        {"LAYERS": (("<b>", "A <b>bold</b> text."),), "PREDICTIONS": site["PREDICTIONS"][:1]}
    )
    main(tmp_path / "site")
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == sorted(("index.html", *pages))
    assert [html.unescape(link) for link in re.findall(r'href="([^"]*)"', index)] == [*pages]
    assert "A &lt;b&gt;bold&lt;/b&gt; text." in index
    assert "<b>bold" not in index
    assert re.search(r"<small>[^<]*Paris[^<]*: France \d+%, ", index)
