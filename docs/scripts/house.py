"""Prints figures of the house: modules, floors, circles of imports, the longest file, names, docstrings.

Run from the repository: .venv/bin/python docs/scripts/house.py [FOLDER OF ANOTHER CHECKOUT]
"""

import ast
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import networkx as nx

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]).resolve()
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from test_house import LIFE, VAGUE, bound, functions  # noqa: E402

SOURCE = ROOT / "src"
FORMULA, CITATION = re.compile(r"`[^`]*[=+*/^<>()|∫Σ][^`]*`"), re.compile(r"\[[a-z]+\d{4}[a-z]?\]")


def modules() -> dict[str, ast.Module]:
    paths = sorted((SOURCE / "ligflow").rglob("*.py"))
    names = [".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in paths]
    return {
        name.removesuffix(".__init__"): ast.parse(path.read_text(encoding="utf-8"))
        for name, path in zip(names, paths, strict=True)
    }


def imports(tree: ast.Module, known: set[str], late: bool) -> set[str]:
    """The modules that one imports, at its top or (`late`) anywhere."""
    nodes = ast.walk(tree) if late else tree.body
    pairs = [
        (node.module or "", alias.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    return {full if (full := f"{module}.{name}") in known else module for module, name in pairs} & known


def public(trees: dict[str, ast.Module]) -> list[str]:
    """The docstrings of public functions and classes."""
    return [
        ast.get_docstring(node) or ""
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]


def main() -> None:
    trees = modules()
    graphs = {
        late: nx.DiGraph(
            (name, other) for name, tree in trees.items() for other in imports(tree, {*trees} - {name}, late)
        )
        for late in (False, True)
    }

    @cache
    def floor(name: str) -> int:
        return 1 + max((floor(other) for other in graphs[False].successors(name)), default=0)

    folders = Counter(name.rpartition(".")[0] for name in trees)
    circles = {
        late: [len(c) for c in nx.strongly_connected_components(graphs[late]) if len(c) > 1]
        for late in graphs
    }
    print(f"modules {len(trees)}, most in one package {folders.most_common(1)[0]}")
    print(
        f"floors {max(map(floor, graphs[False]))}, circles {circles[False]}, with late ones {circles[True]}"
    )
    longest = max((SOURCE / "ligflow").rglob("*.py"), key=lambda path: len(path.read_bytes().splitlines()))
    print(f"longest file {longest.relative_to(SOURCE)}, {len(longest.read_bytes().splitlines())} lines")
    spans = [
        (name, max(lines) - min(lines))
        for tree in trees.values()
        for function in functions(tree)
        for name, lines in bound(function).items()
    ]
    vague = sum(name in VAGUE and span > LIFE for name, span in spans)
    print(f"names {len(spans)}, vague {vague} ({vague / len(spans):.1%})")
    docstrings = public(trees)
    shown = [sum(bool(found.search(text)) for text in docstrings) for found in (FORMULA, CITATION)]
    print(f"public definitions {len(docstrings)}: formula {shown[0]}, citation {shown[1]}")


if __name__ == "__main__":
    main()
