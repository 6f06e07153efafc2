"""A real headless Chromium, and flows whose every cell is known."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from ligflow import Flow

OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 600_000  # milliseconds: ends what never comes, and says nothing of speed


def executable() -> str | None:
    """The browser: the one that LIGFLOW_CHROMIUM names, or the system's."""
    return os.environ.get("LIGFLOW_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = executable()
    assert path, "Chromium is missing: sh .ci/browser installs it (Debian), or LIGFLOW_CHROMIUM names one."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


def flow_of(
    tokens: list[str],
    layers: int = 2,
    heads: int = 3,
    targets: list[int] | None = None,
    routes: tuple[str, ...] = ("z2u", "u2z", "z2z"),
    seed: int = 0,
    **meta: Any,
) -> Flow:
    """Random signed maps with certificates that fit; shares of heads are kept away from division by 0."""
    draw = torch.Generator().manual_seed(seed)
    rows = list(range(len(tokens))) if targets is None else targets
    cells = {"z2u": (layers, heads, len(rows)), "u2z": (layers, len(rows)), "z2z": (layers, len(rows))}
    tensors: dict[str, torch.Tensor] = {}
    for route in routes:
        width = heads if route == "u2z" else len(tokens)
        values = torch.randn(*cells[route], width, generator=draw)
        values[..., 0] += 4 * width**0.5
        tensors[route] = values.transpose(1, 2).contiguous() if route == "u2z" else values
        total = values.sum(-1)
        tensors |= {f"{route}.total": total, f"{route}.scale": total.abs() + 1, f"{route}.error": 0 * total}
        tensors |= {f"{route}.residue": 1e-5 * total, f"{route}.origin": 0.01 * total.abs()}
        tensors |= {f"{route}.met": torch.ones_like(total, dtype=torch.bool)}
        tensors[f"{route}.nodes"] = torch.full((layers, len(rows)), 7)
    if "z2u" in routes:
        tensors["z2u.floor"] = torch.full((layers, heads), 1e-6)
    if "u2z" in routes:
        tensors["u2z_residual"] = torch.randn(layers, len(rows), generator=draw)
    settings = {"att_baseline": "itb", "mlp_baseline": "att_itb_a0", "layer_baseline": "itb", "tol": 1e-3}
    about = {"model": "made by hand", "text": " ".join(tokens), "settings": settings, "notes": []} | meta
    special = tuple(token in ("[CLS]", "[SEP]") for token in tokens)
    return Flow(tokens, tuple(range(layers)), tuple(rows), special, tensors, about)


def still_head(flow: Flow) -> Flow:
    """The same flow with a head that did not move: its weight goes to the diagonal."""
    z2u = flow.z2u.clone()
    z2u[:, 1] = 0
    return replace(flow, tensors={**flow.tensors, "z2u": z2u})
