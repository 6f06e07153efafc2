"""The command line as a whole: exit codes, one clear line for what is mistyped, nothing loaded for help."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from command_line import TEXT, Run, assert_refused
from ligflow import __version__  # fmt: skip


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--route", "z2x"), ("--route 'z2x' is unknown", "reads (z2u), writes (u2z), layer (z2z)")),
        (
            ("--att-baseline", "mask"),
            ("--att-baseline 'mask' is unknown", "target (itb), zero, mean", "itb_map_ratio"),
        ),
        (
            ("--mlp-baseline", "itb"),
            ("--mlp-baseline 'itb' is unknown", "target (att_itb_a0), zero, matching (matched)"),
        ),
        (
            ("--layer-baseline", "itb_map_ratio"),
            ("--layer-baseline", "target (itb), zero, mean, itb_zero_ratio"),
        ),
        (("--scalarization", "l1"), ("--scalarization 'l1' is unknown", "l2, projection")),
        (("--quadrature", "simpson:4"), ("Unknown quadrature 'simpson:4'", "gauss-legendre:n", "captum:n")),
        (("--tol", "0"), ("tol is 0.0", "between 0 and 1")),
        (("--max-nodes", "3"), ("max_nodes is 3",)),
        (("--precision", "half"), ("--precision 'half' is unknown", "float32, tf32")),
        (("--layers", "one"), ("--layers: 'one' is not a list of layers", "0-3,5")),
        (("--targets", "cat,,2"), ("'cat,,2' holds an empty name",)),
        (
            ("--show", "heat"),
            ("--show 'heat' is unknown", "through-heads (conserving), layer (z2z), reads (z2u)"),
        ),
        (("--show", "conserving", "--route", "z2u"), ("--show conserving needs --route writes",)),
        (("--head", "99"), ("--head", "--show reads")),
        (("--special", "--hide-special"), ("one of the two",)),
        (("--html", "out.pdf"), ("--html writes a web page", "'out.pdf' ends in .pdf", ".html or .htm")),
        (("--json", "cells.csv"), ("--json writes JSON", "end it in .json")),
        (("--csv", "table.html"), ("--csv writes a CSV table",)),
        (("--save", "flow.JSON"), ("--save writes a flow",)),
        (("--csv", "-"), ("'-'",)),
        (("--save", "-"), ("'-'",)),
        (("--html", "/nowhere/page.html"), ("Cannot write '/nowhere/page.html'", "no folder '/nowhere'")),
        (("--save", "/"), ("Cannot write '/'",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) and value[0].startswith("--") else "",
)
def test_bad_usage_is_one_line_and_exit_code_2(
    run: Run, options: tuple[str, ...], said: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(run("explain", TEXT, *options), 2, *said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("explain",), ("Give one text", "--file")),
        (
            ("explain", TEXT, "--tol", "small"),
            ("Invalid value for '--tol'", "see ligflow explain --help"),
        ),
        (("explain", TEXT, "--nonsense"), ("No such option", "--nonsense", "see ligflow explain --help")),
        (("explain", TEXT, "--leyer", "1"), ("No such option", "--leyer", "--layer")),
        (("explain", "- dash first"), ("No such option", 'goes behind two: ligflow explain -- "- so"')),
        (("explain", "-5 degrees"), ("No such option", "ligflow explain --")),
        (("trace", "-ly is a suffix", "-t", "1"), ("No such option", "ligflow explain --")),
        (("explane", TEXT), ("No such command 'explane'", "'explain'? See ligflow --help.")),
        (("view",), ("Missing argument", "see ligflow view --help")),
    ],
    ids=str,
)
def test_what_is_mistyped_is_one_line(run: Run, arguments: tuple[str, ...], said: tuple[str, ...]) -> None:
    """In words of typer, which are not the same in all versions that are admitted."""
    assert_refused(run(*arguments), 2, *said)


def test_without_a_command_the_help_is_printed(run: Run) -> None:
    code, out, err = run()
    assert (code, err) == (2, "")
    commands = re.findall(r"^│ (\w+) ", out, re.MULTILINE)
    assert commands[:4] == ["explain", "why", "trace", "view"]


def ligflow(*arguments: Any, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [str(Path(sys.executable).parent / "ligflow"), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=900, check=False)


@pytest.mark.slow
def test_the_command_saves_and_views(model: str, tmp_path: Path) -> None:
    flow = tmp_path / "flow.safetensors"
    made = ligflow("explain", "-", "--model", model, "--save", flow, stdin=TEXT.encode())
    assert (made.returncode, made.stderr.strip()) == (0, b"")
    assert "✓ certified".encode() in made.stdout
    seen = ligflow("view", flow, "--json", "-")
    assert (seen.returncode, seen.stderr) == (0, b"")
    assert json.loads(seen.stdout)["tokens"][:3] == ["[CLS]", "the", "cat"]


@pytest.mark.slow
def test_the_command_reports_a_failed_run_and_leaves_no_file(model: str, tmp_path: Path) -> None:
    failed = ligflow("explain", TEXT, "--model", model, "--layers", "5", "--save", tmp_path / "f")
    assert failed.returncode == 1
    assert failed.stderr.strip() == b"error: There is no layer 5: there are 2, numbered 0 to 1."
    assert failed.stdout == b""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_reports_bad_usage(tmp_path: Path) -> None:
    refused = ligflow("explain", TEXT, "--html", tmp_path / "nowhere" / "page.html")
    assert refused.returncode == 2
    assert refused.stderr.startswith(b"error: Cannot write ")
    assert refused.stderr.count(b"\n") == 1
    assert refused.stdout == b""


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version") == (0, f"ligflow {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"], ["explain", "--help"], ["trace", "--help"], ["corpus", "run", "--help"], ["--version"],
        ["models"], ["explane", "x"], ["explain", "x", "--nonsense"], ["explain", "x", "--show", "heat"],
        ["explain", "x", "--layers", "one"], ["explain", " "], ["view", "page.html"], ["compare", "--help"],
        ["corpus", "faithfulness", "--help"], ["corpus", "heads", "--help"], ["serve", "--help"],
        ["corpus", "run", "x", "--out", "y", "--engine", "slurm"], ["compare", "a", "b", "--margin", "0"],
        ["corpus", "faithfulness", "x", "--out", "y", "--draws", "9"], ["explain", "--chat", "none.json"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_help_and_bad_usage_import_no_torch(arguments: list[str]) -> None:
    """PyTorch and transformers take seconds; what needs no model does not wait for them."""
    code = (
        "import sys\nfrom ligflow.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.exit(bool({'torch', 'transformers', 'numpy', 'pandas'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=False)
    assert (done.returncode, bool(done.stdout or done.stderr)) == (0, True), done
