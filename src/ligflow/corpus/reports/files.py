"""Tables and figures as files: CSV and Parquet, SVG and PNG."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import pandas
from matplotlib import rc_context
from matplotlib.figure import Figure

from ligflow.files import atomically, write_made, write_text

P = ParamSpec("P")
LOOK: Any = {
    "svg.hashsalt": "ligflow", "svg.fonttype": "path", "font.size": 8, "axes.spines.top": False,
    "axes.spines.right": False, "figure.dpi": 150,
}  # fmt: skip


def write_table(frame: pandas.DataFrame, path: Path) -> None:
    """A table as CSV and as Parquet; `path` is without an ending."""
    frame = numbered(frame)
    write_text(path.with_name(f"{path.name}.csv"), frame.to_csv(index=False))
    atomically(path.with_name(f"{path.name}.parquet"), lambda scratch: frame.to_parquet(scratch, index=False))


def numbered(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The table with whole numbers of layers, heads and sentences, where some rows have none of them too."""
    return frame.astype({name: "Int64" for name in ("layer", "head", "sentence") if name in frame})


def write_figure(
    path: Path, look: Any, draw: Callable[P, Figure], *args: P.args, **options: P.kwargs
) -> list[Path]:
    """What `draw` draws, as SVG and as PNG; `path` is without an ending. The files."""
    with rc_context(look):
        figure = draw(*args, **options)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # both files have the layout of the first drawing
        return [_save(figure, path.with_name(f"{path.name}.{kind}"), kind) for kind in ("svg", "png")]


def _save(figure: Figure, path: Path, kind: str) -> Path:
    """The same bytes for the same figure."""
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    return write_made(path, lambda file: figure.savefig(file, format=kind, metadata=metadata))
