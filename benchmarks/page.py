"""The interactive pages in headless Chromium: their size, first paint, and frames while pointing.

    python benchmarks/page.py [--tiny]

First paint is from the start of navigation to the end of the first drawing. The pointer moves to another
cell of the heat map in every frame, which redraws the crosshair and the ladder of that target; on the page of
an answer it moves over words and depths, which marks the word in every view.
"""

import statistics
import tempfile
from pathlib import Path

import torch

import measure
from ligflow.view import answer_page, interactive_page
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
MAP, DEPTHS = ("canvas.over", 1), (".depth canvas.over", 0)  # what the pointer moves over
SENTENCE = 64  # tokens
FRAMES = """async ([canvas, number, count]) => {
  const over = document.querySelectorAll(canvas)[number];
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
    answers = [("an answer", 40, 30, 9), ("an answer to a page of text", 512, 30, 9)]
    if tiny:
        shapes, answers = [("tiny", 6, 2, 2)], [("a tiny answer", 6, 2, 2)]
    repeats, moves = (1, 6) if tiny else (5, 100)
    rows = []
    for kind, html_of, canvas in ((shapes, flow_page, MAP), (answers, page_of_answer, DEPTHS)):
        for what, tokens, layers, heads in kind:
            note(f"{what} ...")
            size = {"what": what, "tokens": tokens, "layers": layers, "heads": heads}
            rows.append(size | measured(html_of(tokens, layers, heads), canvas, repeats, moves))
    caption = "Headless Chromium without a GPU. Frames are those of a pointer that moves."
    measure.report("page", out, measure.machine(where), {"tiny": tiny}, rows, COLUMNS, caption)


def measured(html: str, canvas: tuple[str, int], repeats: int, moves: int) -> Row:
    """Medians of several loads in new pages, and one sweep of the pointer."""
    from browser import chromium

    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = Path(folder, "page.html")
        path.write_text(html, encoding="utf-8")
        paints = []
        for _ in range(repeats):
            shown = browser.new_page(viewport={"width": 1280, "height": 720})
            shown.goto(f"{path.as_uri()}#map=composed")
            shown.wait_for_function("performance.getEntriesByName('ligflow-first-paint').length > 0")
            paints.append(shown.evaluate("performance.getEntriesByName('ligflow-first-paint')[0].startTime"))
        gaps: list[float] = shown.evaluate(FRAMES, [*canvas, moves])
        size = path.stat().st_size
    return {
        "megabytes": size / 1e6,
        "first_paint": statistics.median(paints),
        "frame": statistics.median(gaps),
        "slowest": max(gaps),
        "frames": 1000 * len(gaps) / sum(gaps),
    }


def flow_page(tokens: int, layers: int, heads: int) -> str:
    """The page of random maps of a size."""
    from browser import flow_of

    return interactive_page.page([flow_of([f"token{n}" for n in range(tokens)], layers, heads)])


def page_of_answer(tokens: int, layers: int, heads: int) -> str:
    """The page of a prediction made by hand; what heads read is there for a sentence."""
    from hand_made_prediction import prediction_of

    edges = range(layers) if tokens <= SENTENCE else ()
    names = [f" token{n}" for n in range(tokens)]
    return answer_page.page([prediction_of(names, layers=layers, head_count=heads, edges=edges)])


if __name__ == "__main__":
    import sys

    sys.path.append(str(Path(__file__).parent.parent / "tests"))  # the browser of the tests
    measure.run(main)
