"""Draws the packages and their imports (docs/pictures/packages.svg), and puts their table into the page.

Run from the repository: .venv/bin/python docs/scripts/architecture.py
"""

import ast
import os
import tomllib
from collections import Counter
from itertools import chain
from pathlib import Path

import grimp
import matplotlib as mpl
from blocks import put
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "ligflow"
PICTURE, PAGE = ROOT / "docs" / "pictures" / "packages.svg", ROOT / "docs" / "explanation" / "architecture.md"
WIDTH, HEIGHT = 1.9, 0.62  # of a box, in inches
ACROSS, DOWN = 2.3, 1.15  # from box to box


def floors() -> list[list[str]]:
    """The packages from top to bottom, as the contract that `lint-imports` keeps has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers")
    return [[name.strip() for name in floor.split("|")] for floor in layers]


def imports() -> Counter[tuple[str, str]]:
    """How often files of one package import files of another."""
    graph, counts = grimp.build_graph("ligflow"), Counter[tuple[str, str]]()
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            pair = package_of(module), package_of(other)
            counts[pair] += pair[0] != pair[1] and not {"ligflow", "__main__"} & set(pair)
    return +counts


def package_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def files_of(package: str) -> list[Path]:
    folder = SOURCE / package
    return [path for path in folder.rglob("*.py") if path.name != "__init__.py"] if folder.is_dir() else []


def purpose(package: str) -> str:
    """The first sentence of its docstring."""
    path = SOURCE / package / "__init__.py" if (SOURCE / package).is_dir() else SOURCE / f"{package}.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split()) or "The version."


def table() -> str:
    """Packages from top to bottom, with what each is for and which it imports."""
    below: dict[str, list[str]] = {}
    for above, other in imports():
        below.setdefault(above, []).append(other)
    lines = ["| package | what it is | files | imports |", "|---|---|---|---|"]
    for name in chain.from_iterable(floors()):
        used = ", ".join(f"`{other}`" for other in sorted(below.get(name, [])))
        lines.append(f"| `{name}` | {purpose(name)} | {len(files_of(name)) or 1} | {used} |")
    return "\n".join(lines)


def draw(path: Path) -> None:
    """Every package on its floor, with a line for every other above the last floor that it imports.

    The wider a line, the more imports.
    """
    rows = floors()
    most = max(map(len, rows))
    figure = Figure(figsize=(ACROSS * most, DOWN * len(rows)))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, ACROSS * most), ylim=(0, DOWN * len(rows)))
    axes.axis("off")
    centres = {
        name: (ACROSS * (most / 2 + place - (len(row) - 1) / 2), DOWN * (len(rows) - floor - 0.5))
        for floor, row in enumerate(rows)
        for place, name in enumerate(row)
    }
    for (above, below), count in imports().items():
        if below in rows[-1]:  # which everything imports
            continue
        (x, y), (other_x, other_y) = centres[above], centres[below]
        axes.annotate(
            "", (other_x, other_y + HEIGHT / 2), (x, y - HEIGHT / 2),
            arrowprops={
                "arrowstyle": "-|>", "linewidth": 0.4 + 0.12 * count**0.75, "color": "#2166ac", "alpha": 0.45,
                "connectionstyle": f"arc3,rad={0.06 if x <= other_x else -0.06}", "shrinkA": 0, "shrinkB": 0,
            },
        )  # fmt: skip
    for name, (x, y) in centres.items():
        count = len(files_of(name))
        label = f"{name}\n{count} files" if count else name
        axes.text(
            x, y, label, ha="center", va="center", fontsize=11, linespacing=1.3, color="#111111",
            bbox={"boxstyle": "round,pad=0.45", "facecolor": "#f4f1ea", "edgecolor": "#555555"},
        )  # fmt: skip
    with mpl.rc_context({"svg.hashsalt": "packages", "svg.fonttype": "path"}):
        figure.savefig(path, metadata={"Date": None}, facecolor="white")
    print(f"wrote {path}")


if __name__ == "__main__":
    os.chdir(ROOT)
    draw(PICTURE)
    put(PAGE, {"packages": table()})
