"""Pictures of the interactive page in a real browser, for the README and the docs.

Run: .venv/bin/python docs/screenshots.py     (needs Chromium; sh .ci/browser installs Debian's)
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from ligflow import Explainer
from ligflow.trace import BASELINES
from ligflow.view.page import page

DOCS = Path(__file__).parent
SENTENCE = (
    "The old lighthouse keeper counted the ships while the storm grew darker, and nobody else saw the light."
)
SHOTS = {  # name: width, height, colours, state
    "page-light": (1280, 720, "light", "layer=1&map=composed&special=1&pin=t4&colour=share"),
    "page-dark": (1280, 720, "dark", "layer=2&map=z2z&special=1&beside=1&colour=share"),
    "page-trace": (1200, 800, "light", "flow=2&layer=5&map=composed&trace=1&pin=t4&cut=2"),
    "page-phone": (390, 844, "dark", "layer=1&map=composed&special=1&pin=t4&colour=share"),
}


def main() -> None:
    sys.path.append(str(DOCS.parent / "tests"))  # the browser of the tests
    from browser import chromium

    explainer = Explainer.from_pretrained()
    zero: dict[str, Any] = {"att_baseline": "zero", "mlp_baseline": "zero", "layer_baseline": "zero"}
    flows = [explainer.explain(SENTENCE, **settings) for settings in ({}, zero, BASELINES["mean"])]
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = Path(folder, "page.html")
        path.write_text(page(flows), encoding="utf-8")
        for name, (width, height, colours, state) in SHOTS.items():
            size = {"width": width, "height": height}
            shown = browser.new_page(viewport=size, color_scheme=colours)
            shown.goto(f"{path.as_uri()}#{state}")
            shown.wait_for_timeout(500)
            part = shown.locator(".trace") if "trace=1" in state else shown
            part.screenshot(path=DOCS / "pictures" / f"{name}.png")
            print(f"wrote docs/pictures/{name}.png")


if __name__ == "__main__":
    main()
