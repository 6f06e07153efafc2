"""Runs the notebooks of this folder and keeps their outputs.

Run: .venv/bin/python examples/refresh.py [NOTEBOOK ...]     (default: all)
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def run(path: Path) -> nbformat.NotebookNode:
    """The notebook with new outputs. Raises nbclient's CellExecutionError at the first cell that fails."""
    os.environ["TQDM_DISABLE"] = "1"  # bars come after some seconds: outputs would depend on the machine
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata.clear()
    NotebookClient(notebook, timeout=None, record_timing=False).execute()
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


def main() -> None:
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(HERE.glob("*.ipynb")):
        nbformat.write(run(path), path)
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
