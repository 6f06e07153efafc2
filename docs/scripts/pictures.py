"""Makes docs/pictures/flow.png: one layer of MiniLM on the demo sentence, as `flow.plot` draws it.

Run from the repository: .venv/bin/python docs/scripts/pictures.py
"""

from pathlib import Path

from ligflow import explain

SENTENCE = (
    "The old lighthouse keeper counted the ships while the storm grew darker, and nobody else saw the light."
)
LAYER = 1
FLOW = Path(__file__).parents[1] / "pictures" / "flow.png"


def main() -> None:
    flow = explain(SENTENCE, layers=[LAYER]).hide_special()
    flow.plot("overview", layer=LAYER, path=FLOW)
    print(f"wrote {FLOW}: {FLOW.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
