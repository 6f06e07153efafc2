"""Cost by the length of the text: table and figure of what `benchmarks/lengths.py` has written.

python docs/scripts/lengths.py
"""

import json
from pathlib import Path

from blocks import put
from prediction_faithfulness import BENCHMARKS, PAGE, PICTURES

from ligflow.corpus.reports.markdown import table

RESULTS = BENCHMARKS / "results" / "lengths.json"


def main() -> None:
    """Table into the page, figure beside it."""
    put(PAGE, {"lengths-seconds": block("seconds", ".2f"), "lengths-memory": block("memory", ".0f")})
    figure(PICTURES / "prediction-lengths.svg")


def rows() -> list[dict[str, float | str]]:
    found: list[dict[str, float | str]] = json.loads(RESULTS.read_text())["rows"]
    return found


def lengths() -> list[int]:
    """Those that a method was run at."""
    names = {name for row in rows() for name in row if name.startswith("seconds ")}
    return sorted(int(name.split()[1]) for name in names)


def block(what: str, form: str) -> str:
    """Seconds or MiB of each method by length; the cheapest first."""
    every, columns = rows(), lengths()
    shown = sorted(every, key=lambda row: (-len(row), row.get(f"seconds {columns[-1]}", 0)))
    cells = [
        [
            f"`{row['method']}`",
            *(format(row[name], form) if (name := f"{what} {length}") in row else "–" for length in columns),
        ]
        for row in shown
    ]
    return table(["tokens", *map(str, columns)], cells)


def figure(path: Path) -> None:
    """Seconds and memory over the length, both axes logarithmic."""
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "lengths"
    canvas, panels = plt.subplots(1, 2, figsize=(10, 4.5), sharex=True)
    marks = "osv^D<>Pph*Xd"
    for number, row in enumerate(rows()):
        own = row["method"] == "chain"
        for panel, what in zip(panels, ("seconds", "memory"), strict=True):
            points = [(length, row[f"{what} {length}"]) for length in lengths() if f"{what} {length}" in row]
            style = (
                {"color": "#b2182b", "linewidth": 2.5}
                if own
                else {"color": plt.cm.tab20(number), "linewidth": 1}
            )
            panel.plot(
                *zip(*points, strict=True),
                marker=marks[number % len(marks)],
                markersize=4,
                label=row["method"],
                **style,
            )
    for panel, name in zip(
        panels, ("CPU seconds of one explanation", "MiB that it adds at most"), strict=True
    ):
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.set_xticks(lengths(), [str(length) for length in lengths()])
        panel.set_xlabel("tokens")
        panel.set_ylabel(name)
    panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    canvas.tight_layout()
    canvas.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(canvas)


if __name__ == "__main__":
    main()
