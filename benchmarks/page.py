"""The interactive page in headless Chromium: its size, its first paint, and frames while pointing.

    python benchmarks/page.py [--tiny]

First paint is from the start of navigation to the end of the first drawing. The pointer moves to another
cell of the heat map in every frame, which redraws the crosshair and the ladder of that target.
"""

import statistics
import tempfile
from pathlib import Path

import torch

import measure
from ligflow.flow import Flow
from ligflow.view.interactive_page import page
from measure import Row, note, number, text

COLUMNS: measure.Columns = {
    "what": text("what"),
    "tokens": number("tokens", "d"),
    "layers": number("layers", "d"),
    "heads": number("heads", "d"),
    "page, MB": number("megabytes", ".1f"),
    "first paint, ms": number("first_paint", ".0f"),
    "frame, ms: median": number("frame", ".1f"),
    "largest": number("slowest", ".1f"),
    "frames a second": number("frames", ".0f"),
}
FRAMES = """async (count) => {
  const over = document.querySelectorAll("canvas.over")[1];
  const box = over.getBoundingClientRect();
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const gaps = [];
  let last = await frame();
  for (let i = 0; i < count; i++) {
    const at = 0.2 + 0.6 * ((i * 0.618) % 1);
    const place = { clientX: box.left + at * box.width, clientY: box.top + at * box.height };
    over.dispatchEvent(new PointerEvent("pointermove", place));
    const now = await frame();
    gaps.push(now - last);
    last = now;
  }
  return gaps.slice(2);
}"""


def main(tiny: measure.Tiny = False, out: measure.Out = None) -> None:
    """Measure the sizes that the page is made for."""
    where = torch.device("cpu")
    shapes = [("a sentence", 40, 12, 12), ("a paragraph", 256, 1, 12), ("a page of text", 512, 2, 12)]
    if tiny:
        shapes = [("tiny", 6, 2, 2)]
    rows = []
    for what, tokens, layers, heads in shapes:
        note(f"{what} ...")
        size = {"what": what, "tokens": tokens, "layers": layers, "heads": heads}
        rows.append(size | measured(flow_of(tokens, layers, heads), 1 if tiny else 5, 6 if tiny else 100))
    caption = "Headless Chromium without a GPU. Frames are those of a pointer that moves."
    measure.report("page", out, measure.machine(where), {"tiny": tiny}, rows, COLUMNS, caption)


def measured(flow: Flow, repeats: int, moves: int) -> Row:
    """Medians of several loads in new pages, and one sweep of the pointer."""
    from browser import chromium

    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = Path(folder, "page.html")
        path.write_text(page([flow]), encoding="utf-8")
        paints = []
        for _ in range(repeats):
            shown = browser.new_page(viewport={"width": 1280, "height": 720})
            shown.goto(f"{path.as_uri()}#map=composed")
            shown.wait_for_function("performance.getEntriesByName('ligflow-first-paint').length > 0")
            paints.append(shown.evaluate("performance.getEntriesByName('ligflow-first-paint')[0].startTime"))
        gaps: list[float] = shown.evaluate(FRAMES, moves)
        size = path.stat().st_size
    return {
        "megabytes": size / 1e6,
        "first_paint": statistics.median(paints),
        "frame": statistics.median(gaps),
        "slowest": max(gaps),
        "frames": 1000 * len(gaps) / sum(gaps),
    }


def flow_of(tokens: int, layers: int, heads: int) -> Flow:
    """Random maps of a size."""
    from browser import flow_of as made

    return made([f"token{n}" for n in range(tokens)], layers, heads)


if __name__ == "__main__":
    import sys

    sys.path.append(str(Path(__file__).parent.parent / "tests"))  # the browser of the tests
    measure.run(main)
