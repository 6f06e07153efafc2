"""One question from several references, as a figure: docs/pictures/baselines.svg, and a table of its numbers.

Run: python docs/scripts/baselines.py   (SmolLM2; a minute of one core)

Sturmfels et al. 2020 compared baselines of integrated gradients on images; here they are references of a
prediction. Writes `benchmarks/results/baselines.csv`, and a block of explanation/related.md.
"""

from pathlib import Path
from typing import Any

import pandas
import torch
from blocks import put
from matplotlib.figure import Figure

from ligflow import Explainer
from ligflow.corpus.reports.files import LOOK, write_figure
from ligflow.corpus.reports.markdown import table
from ligflow.files import write_text
from ligflow.prediction.references import Random

ROOT = Path(__file__).parents[2]
TABLE, PICTURE = (
    ROOT / "benchmarks" / "results" / "baselines.csv",
    ROOT / "docs" / "pictures" / "baselines",
)
PAGE = ROOT / "docs" / "explanation" / "related.md"
TEXT, ANSWER = "The capital of France is the city of", " Paris"
REFERENCES: dict[str, Any] = {
    "neutral": "neutral",
    "full stops": ".",
    "mean embedding": "mean",
    "random tokens, seed 0": Random(count=1, seed=0),
    "random tokens, seed 1": Random(count=1, seed=1),
    "random tokens, seed 2": Random(count=1, seed=2),
    "another country": "The capital of Italy is the city of",
}


def computed() -> pandas.DataFrame:
    """Relevance by token of each reference, with what the two runs say."""
    explainer = Explainer.from_pretrained("embedded:smollm2")
    count = len(explainer.tokenizer(TEXT)["input_ids"])
    stop = explainer.tokenizer(".")["input_ids"]
    words = list(range(1, count))  # the first word is the sink: kept
    rows = []
    for name, reference in REFERENCES.items():
        asked = torch.tensor(stop * count) if name == "full stops" else reference
        p = explainer.explain_prediction(
            TEXT, answer=ANSWER, reference=asked, on=words, edges=(), max_points=127
        )
        points = sum(segment.points for segment in p.certificates) / len(p.certificates)
        print(f"{name}: change {p.change:.3f}, {points:.1f} points a segment", flush=True)
        rows += [
            {"reference": name, "place": place, "token": token, "relevance": float(value),
             "error": float(error), "change": p.change, "points": points}
            for place, (token, value, error) in enumerate(
                zip(p.tokens[:count], p.relevance[:count], p.error[:count], strict=True)
            )
        ]  # fmt: skip
    return pandas.DataFrame(rows)


def drawing(frame: pandas.DataFrame) -> Figure:
    """A row for each reference, a cell for each token: its share of all that speaks for and against."""
    names = list(dict.fromkeys(frame.reference))
    tokens = frame[frame.reference == names[0]].token.tolist()
    sizes = frame.groupby("reference").relevance.transform(lambda each: each.abs().sum())
    shares = (frame.relevance / sizes).to_numpy().reshape(len(names), len(tokens))
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    panel = figure.subplots()
    shown = panel.imshow(shares, cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto")
    for (row, column), share in [
        ((r, c), shares[r, c]) for r in range(len(names)) for c in range(len(tokens))
    ]:
        colour = "white" if abs(share) > 0.6 else "black"
        panel.text(column, row, f"{share:+.0%}", ha="center", va="center", fontsize=7, color=colour)
    panel.set_xticks(range(len(tokens)), [token.strip() for token in tokens], fontsize=8)
    panel.set_yticks(range(len(names)), names, fontsize=8)
    figure.colorbar(shown, ax=panel, label="share of all sizes", shrink=0.9)
    return figure


def block(frame: pandas.DataFrame) -> str:
    lines = []
    for name, rows in frame.groupby("reference", sort=False):
        sizes = rows.relevance.abs().sum()
        best = rows[rows.relevance > 0].sort_values("relevance", ascending=False).head(2)
        listed = ", ".join(f"{row.token.strip()} {row.relevance:+.1f}" for row in best.itertuples())
        error = f"{rows.error.abs().sum() / sizes:.0e}"
        lines.append([str(name), f"{rows.change.iloc[0]:+.1f}", listed, f"{rows.points.iloc[0]:.1f}", error])
    return table(
        [
            "reference",
            "change of the log-probability",
            "most relevant",
            "points a segment",
            "estimated error",
        ],
        lines,
    )


if __name__ == "__main__":
    frame = computed()
    write_text(TABLE, frame.to_csv(index=False, float_format="%.5g"))
    frame = pandas.read_csv(TABLE)
    write_figure(PICTURE, LOOK, drawing, frame)
    PICTURE.with_suffix(".png").unlink()
    put(PAGE, {"baselines": block(frame)})
