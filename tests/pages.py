"""What tests read from an open page: its state, tables, pictures and places."""

import csv
import io
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from browser import flow_of
from ligflow import Flow

TOKENS = ["[CLS]", "the", "light", "house", "keeper", "[SEP]"]
WORDS = {"words": [0, 1, 2, 2, 3, 4], "word_labels": ["[CLS]", "the", "lighthouse", "keeper", "[SEP]"]}
HOSTILE = [
    "<script>window.hacked=1</script>", "</script><img src=x onerror=window.hacked=1>",
    '"\'`${window.hacked=1}',
    "👍🏽", "שלום", "a\u202eb", "\x1b[31m\x00", "=1+1",
]  # fmt: skip
SELECTED = '[role="tab"][aria-selected="true"]'
Open = Callable[..., Any]
MEAN = {"att_baseline": "mean", "mlp_baseline": "matched", "layer_baseline": "mean", "tol": 1e-3}

GO = """state => new Promise((done) => {
  addEventListener("hashchange", () => setTimeout(done));
  location.hash = state;
})"""


def exported(shown: Any, kind: str) -> str:
    with shown.expect_download() as waiting:
        shown.click(f".export-{kind}")
    return str(Path(waiting.value.path()).read_text(encoding="utf-8"))


def table(shown: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(exported(shown, "csv"))))


def map_of(shown: Any, column: str = "value") -> np.ndarray:
    """The exported map, [target, source] in the order of the rows; NaN where nothing is shown."""
    rows = table(shown)
    count = len({row["target"] for row in rows})
    return np.array([float(row[column] or "nan") for row in rows]).reshape(count, -1)


def chosen(shown: Any, name: str) -> str:
    return str(shown.eval_on_selector(f'[name="{name}"]', "e => e.type === 'checkbox' ? e.checked : e.value"))


def close(found: np.ndarray, known: torch.Tensor) -> None:
    np.testing.assert_allclose(found, known.numpy(), rtol=1e-4, atol=1e-5)


def state_of(shown: Any) -> str:
    """The state in the page's address, asked of the page itself: what the driver knows of it may lag."""
    return str(shown.evaluate("location.hash")).removeprefix("#")


def heat_place(shown: Any, row: int, column: int) -> tuple[float, float]:
    """Where a cell is on the screen, from the frame of the exported picture."""
    svg = ET.fromstring(exported(shown, "svg"))
    cells = [n.attrib for n in svg.iter() if n.attrib.get("class") == "cell"]
    size = float(cells[0]["width"])
    left = float(next(c for c in cells if c["data-source"] == "0")["x"]) - float(heat_offset(svg))
    top = float(next(c for c in cells if c["data-target"] == "0")["y"]) - 68
    box = shown.query_selector_all("canvas.over")[1].bounding_box()
    return box["x"] + left + (column + 0.5) * size, box["y"] + top + (row + 0.5) * size


def heat_offset(svg: ET.Element) -> float:
    """Where the heat map begins in the picture: left of its axis title by 10."""
    title = next(n for n in svg.iter() if n.text == "target (row)")
    return float(title.attrib["x"]) - 10


def lines(shown: Any, selector: str) -> list[str]:
    return list(shown.eval_on_selector_all(selector, "all => all.map(e => e.textContent)"))


def one_large_cell() -> Flow:
    """Layer 1: source 4 (keeper) gives target 2 (light) almost all."""
    made = flow_of(TOKENS, routes=("z2z",))
    z2z = 0.01 * made.z2z
    z2z[1, 2, 4] = 9
    return replace(made, tensors={**made.tensors, "z2z": z2z})
