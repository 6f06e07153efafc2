"""`ligflow models`: the model types that are tested."""

from rich.table import Table

from ligflow.cli.streams import console
from ligflow.evaluation.tested_models import SPLIT, WHOLE
from ligflow.names import EMBEDDED


def models() -> None:
    """List the model types that are tested against brute-force autograd."""
    table = Table(
        title="tested model types: all maps cell by cell against autograd, a lone layer map by its sums",
        title_justify="left",
        box=None,
    )
    for name in ("model type", "maps", "what it exercises"):
        table.add_column(name)
    for known, maps in ((SPLIT, "all"), (WHOLE, "layer")):
        for name, note in sorted(known.items()):
            table.add_row(name, maps, note)
    console().print(table)
    console().print(f"Models that come as packages: {', '.join(EMBEDDED)}.")
    console().print(
        "Others work too, if their attention goes through the interface of transformers or is a softmax of "
        "products: ligflow check MODEL."
    )
