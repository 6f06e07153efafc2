"""The house: imports run down, files fit a sitting, and names say what they hold."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ligflow"
FILES = sorted(SOURCE.rglob("*.py"))
# pronouns and participles: they say how a value came about, not what it is
VAGUE = frozenset(
    [
        "found",
        "one",
        "given",
        "asked",
        "seen",
        "some",
        "made",
        "told",
        "done",
        "it",
        "that",
        "this",
        "those",
        "them",
        "thing",
    ]
)
LIFE = 3  # lines over which a name may go without saying what it is
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def bound(function: Function) -> dict[str, list[int]]:
    """The lines on which a function's own names occur, by name; nested functions are part of it."""
    lines: dict[str, list[int]] = {}
    own = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            lines.setdefault(node.arg, []).append(node.lineno)
        elif isinstance(node, ast.Name):
            lines.setdefault(node.id, []).append(node.lineno)
            if isinstance(node.ctx, ast.Store):
                own.add(node.id)
    return {name: lines[name] for name in own}


def vague_names(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = {
        f"{path.relative_to(ROOT)}:{min(lines)} {name}"
        for function in functions(tree)
        for name, lines in bound(function).items()
        if name in VAGUE and max(lines) - min(lines) > LIFE
    }
    return sorted(said)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_names_say_what_they_hold(path: Path) -> None:
    assert not vague_names(path)


def test_files_fit_a_sitting() -> None:
    longest = {".py": 400, ".js": 450}
    long = {
        str(path.relative_to(SOURCE)): count
        for path in SOURCE.rglob("*.*")
        if (count := len(path.read_bytes().splitlines())) > longest.get(path.suffix, 10**6)
    }
    assert not long


def test_imports_run_down() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [linter, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout


def test_an_import_that_runs_up_is_found(tmp_path: Path) -> None:
    """The rule is no ornament: with one import turned upward the linter fails, and names it."""
    shutil.copytree(SOURCE, tmp_path / "ligflow", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "ligflow" / "method" / "composition.py").open("a", encoding="utf-8") as file:
        file.write("\nfrom ligflow.routes import explain_layer as explain_layer\n")
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [linter, "--no-logo", "--no-cache", "--config", ROOT / "pyproject.toml"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "ligflow.method.composition -> ligflow.routes.explain_layer" in run.stdout


def test_the_page_of_the_architecture_is_up_to_date() -> None:
    sys.path.insert(0, str(ROOT / "docs" / "scripts"))
    import architecture  # type: ignore[import-not-found]

    assert architecture.table() in (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
