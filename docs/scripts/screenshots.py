"""Pictures of the interactive pages in a real browser, for the README and the docs.

Run: .venv/bin/python docs/scripts/screenshots.py [flows|answer|heads|server]   (default: all; needs Chromium,
which sh .ci/browser installs on Debian)
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from ligflow import Explainer
from ligflow.results.tracing import BASELINES
from ligflow.view.interactive_page import page

DOCS = Path(__file__).parents[1]
SENTENCE = (
    "The old lighthouse keeper counted the ships while the storm grew darker, and nobody else saw the light."
)
SHOTS = {  # name: width, height, colours, state; those of one text have a page of their own
    "page-light": (1280, 860, "light", "pin=t4"),
    "page-dark": (1280, 860, "dark", "beside=1&pin=t4"),
    "page-trace": (1200, 800, "light", "layer=5&tab=trace&pin=t4&cut=2"),
    "page-phone": (390, 844, "dark", "pin=t4"),
}


PROMPT, ANSWERS = "The capital of France is", (None, " London")
CAPITALS = {
    "Europe": {
        "France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Germany": "Berlin", "Poland": "Warsaw",
        "Greece": "Athens",
    },
    "Asia": {
        "Japan": "Tokyo", "China": "Beijing", "India": "New", "Thailand": "Bangkok", "Iran": "Tehran",
        "Iraq": "Baghdad",
    },
}  # fmt: skip


def main() -> None:
    sys.path.append(str(DOCS.parent / "tests"))  # the browser of the tests
    kinds = {"flows": flows, "answer": answer, "heads": heads, "server": server}
    for kind in sys.argv[1:] or kinds:
        kinds[kind]()


def answer() -> None:
    """The page of a prediction, its first screen, and its flow."""
    from browser import chromium

    explainer = Explainer.from_pretrained("embedded:smollm2")
    why = [explainer.explain_prediction(PROMPT, other, edges="all", parts=True) for other in ANSWERS]
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = why[0].to_html(Path(folder, "why.html"), *why[1:])
        shown = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        shown.goto(path.as_uri())
        shown.wait_for_selector(".running span")
        shown.screenshot(path=DOCS / "pictures" / "answer-page.png")
        for view, name in (("flow", "prediction-flow"), ("compared-heads", "compared-heads")):
            shown.locator(f"section.{view}").screenshot(path=DOCS / "pictures" / f"{name}.png")
        print("wrote docs/pictures/answer-page.png, prediction-flow.png and compared-heads.png")


def heads() -> None:
    """The page of all heads of a run on a dozen prompts (a minute)."""
    from browser import chromium

    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        prompts, run = Path(folder, "capitals.jsonl"), Path(folder, "run")
        rows = [
            {"prompt": f"The capital of {country} is", "answer": f" {answer}", "group": group}
            for group, answers in CAPITALS.items()
            for country, answer in answers.items()
        ]
        prompts.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        command = [sys.executable, "-m", "ligflow", "corpus"]
        subprocess.run(
            [*command, "predictions", prompts, "--out", run, "--model", "embedded:smollm2"], check=True
        )
        subprocess.run([*command, "report", run], check=True)
        shown = browser.new_page(viewport={"width": 1280, "height": 1180}, color_scheme="light")
        shown.goto((run / "report" / "heads.html").as_uri())
        shown.wait_for_selector(".point")
        shown.screenshot(path=DOCS / "pictures" / "heads-page.png")
        print("wrote docs/pictures/heads-page.png")


def server() -> None:
    """The page of `ligflow serve`: a text was asked about, and an answer clicked."""
    from browser import chromium

    command = [sys.executable, "-m", "ligflow", "serve", "--port", "0", "--model", "embedded:smollm2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, chromium() as browser:
        assert process.stdout is not None
        address = next(word for word in process.stdout.readline().split() if word.startswith("http://"))
        shown = browser.new_page(viewport={"width": 1280, "height": 1000}, color_scheme="light")
        shown.goto(address)
        shown.fill("#text", PROMPT)
        shown.click("#why")
        shown.click("#answers button >> nth=0")
        shown.frame_locator("iframe").locator(".running span").first.wait_for(timeout=120_000)
        shown.evaluate("scrollTo(0, 0)")
        shown.screenshot(path=DOCS / "pictures" / "server-page.png")
        process.terminate()
    print("wrote docs/pictures/server-page.png")


def flows() -> None:
    """The page of flows."""
    from browser import chromium

    explainer = Explainer.from_pretrained()
    other = SENTENCE.replace("storm grew darker", "harbour lay quiet")
    both = [explainer.explain(text) for text in (SENTENCE, other)]
    chained = explainer.explain(SENTENCE, **BASELINES["mean"])
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        one, several = Path(folder, "one.html"), Path(folder, "several.html")
        one.write_text(page(both[:1]), encoding="utf-8")
        several.write_text(page([*both, chained]), encoding="utf-8")
        for name, (width, height, colours, state) in SHOTS.items():
            size = {"width": width, "height": height}
            shown = browser.new_page(viewport=size, color_scheme=colours)
            path = several if "beside" in state or "trace" in state else one
            shown.goto(f"{path.as_uri()}#{state}")
            shown.wait_for_timeout(500)
            part = shown.locator(".trace") if "tab=trace" in state else shown
            part.screenshot(path=DOCS / "pictures" / f"{name}.png")
            print(f"wrote docs/pictures/{name}.png")


if __name__ == "__main__":
    main()
