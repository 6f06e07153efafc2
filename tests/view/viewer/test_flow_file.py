"""Several flows in a page, files opened beside, and files that are none."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from browser import flow_of
from ligflow import Flow
from ligflow.view.interactive_page import page
from pages import TOKENS, WORDS, Open, chosen, close, exported, map_of, table


@pytest.fixture(scope="module")
def flow() -> Flow:
    return flow_of(TOKENS, **WORDS)


def test_flows_of_other_settings_can_be_chosen_and_laid_beside(opened: Open, flow: Flow) -> None:
    settings = flow.meta["settings"] | {"layer_baseline": "zero"}
    other = replace(flow_of(TOKENS, seed=4, **WORDS), meta=flow.meta | {"settings": settings})
    shown = opened(flow, other, state="map=z2z&layer=0&special=0&colour=value&beside=1&pin=t2")
    rows = table(shown)
    assert len(rows) == 3 * 36
    close(np.array([float(row["value"]) for row in rows[36:72]]).reshape(6, 6), other.z2z[0])
    assert "layer zero" in rows[36]["flow"]
    close(np.array([float(row["value"]) for row in rows[72:]]).reshape(6, 6), flow.z2z[0] - other.z2z[0])
    assert " minus " in rows[72]["flow"]
    assert shown.inner_text(".details").count("‘light’ is moved by") == 2
    entries = shown.eval_on_selector_all('[name="flow"] option', "all => all.map(e => e.textContent)")
    assert entries[0].startswith("1. [CLS] the light house keeper [SEP] (")
    assert entries[0].endswith("(target baseline)")
    assert entries[1].endswith("layers: zero baseline)")
    svg = exported(shown, "svg")
    assert all(title in svg for title in (*(one[:30] for one in entries), "first minus second"))
    shown.select_option('[name="flow"]', "1")
    close(map_of(opened(flow, other, state="flow=1&map=z2z&layer=0&special=0")), other.z2z[0])


def test_a_flow_file_can_be_opened_beside(opened: Open, flow: Flow, tmp_path: Path) -> None:
    other = flow_of(TOKENS, seed=5, **WORDS)
    shown = opened(flow, state="map=z2z&layer=0&special=0&colour=value")
    shown.set_input_files('input[type="file"]', other.save(tmp_path / "other.safetensors"))
    shown.wait_for_selector('[name="beside"]', state="attached")
    assert chosen(shown, "beside") == "1"
    rows = table(shown)
    close(np.array([float(row["value"]) for row in rows[36:72]]).reshape(6, 6), other.z2z[0])


def damaged(data: bytes, kind: str) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length]
    change = {
        "cut": lambda: data[: len(data) // 2],
        "cut header": lambda: data[:40],
        "foreign": lambda: b"\x89PNG\r\n\x1a\n" + bytes(40),
        "empty": lambda: b"",
        "other": lambda: data.replace(b'"ligflow"', b'"ligflux"', 1),
        "newer": lambda: data.replace(b'\\"format\\": 1', b'\\"format\\": 9', 1),
        "lost": lambda: data[:8] + header.replace(b'"z2z.scale"', b'"z2z.scalx"', 1) + data[8 + length :],
        "tokens": lambda: data.replace(b'\\"targets\\": [0', b'\\"targets\\": [7', 1),
    }
    return change[kind]()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("cut", "is damaged: tensor"), ("cut header", "it ends within its header"),
        ("foreign", "is not a ligflow flow file"),
        ("empty", "is not a ligflow flow file"), ("other", "is a safetensors file, but not a ligflow flow"),
        ("newer", "has flow format 9, and this page reads up to 1; upgrade ligflow"),
        ("lost", "tensor z2z.scale is missing or does not fit"), ("tokens", "a target is no token"),
    ],
)  # fmt: skip
def test_files_that_are_no_flows_are_refused_in_words(
    opened: Open, flow: Flow, tmp_path: Path, kind: str, words: str
) -> None:
    path = tmp_path / "<b>bad.safetensors"
    path.write_bytes(damaged(flow.save(tmp_path / "good.safetensors").read_bytes(), kind))
    shown = opened(flow)
    shown.set_input_files('input[type="file"]', path)
    shown.wait_for_selector(".message:not([hidden])")
    assert words in shown.inner_text(".message")
    assert shown.inner_text(".message").startswith("<b>bad.safetensors")
    assert map_of(shown).shape == (6, 4)


def test_a_page_whose_data_is_damaged_says_so(opened: Open, flow: Flow) -> None:
    html = re.sub(r'(class="flow"[^>]*>)[A-Za-z0-9+/=]{400}', r"\1", page([flow]))
    shown = opened(html=html)
    assert "flow 1" in shown.inner_text(".message")


def test_a_browser_without_canvas_is_told(opened: Open, flow: Flow) -> None:
    html = page([flow]).replace(
        "<noscript>", "<script>HTMLCanvasElement.prototype.getContext = () => null</script><noscript>"
    )
    assert "has no canvas" in opened(html=html).inner_text(".message")
