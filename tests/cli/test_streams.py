"""Standard output in UTF-8, and what is said on standard error while a model loads."""

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from command_line import Run
from ligflow.cli.streams import error, loading


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "x"], ["trace", "x"], ["corpus", "run", "x", "--out", "y"], ["serve"],
        ["why", "x", "--model", "embedded:gemma-3-270m"],
        ["compare", "embedded:minilm", "b"], ["corpus", "faithfulness", "x", "--out", "y"],
        ["check", "embedded:minilm"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_waited_for_is_said_before_torch_is_imported(arguments: list[str]) -> None:
    speaks = {"why": arguments[-1], "serve": "embedded:smollm2"}  # the first of the two that are served
    name = speaks.get(arguments[0], "embedded:minilm")
    code = (
        "import sys\n"
        "class Torch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch':\n"
        "            raise SystemExit(7)\n"
        "sys.meta_path.insert(0, Torch())\n"
        "from ligflow.cli.main import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, check=False, text=True,
        env=os.environ | {"FORCE_COLOR": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (7, f"loading {name} ...\n")


def test_what_is_waited_for_is_said_once_on_a_terminal(
    explain: Run, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    loading.cache_clear()
    code, out, err = explain("--route", "layer", "--layers", "0")
    assert (code, err.count("loading"), "loading" in out) == (0, 1, False)
    assert err.startswith(f"loading {model} ...")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_output_is_utf8_whatever_the_code_page(
    run: Run, model: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On streams as Python makes them where the environment has that code page."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    asked = ["trace", "-", "--model", model, "-t", "cat", "--map", "layer", "--layer", "0"]
    code, *_ = run(*asked, stdin="Naïve cat 猫".encode())
    out.flush()
    said = out.buffer.getvalue().decode("utf-8")
    assert code == 0
    assert "‘cat’" in said
    assert "←" in said


def test_an_error_keeps_its_brackets_and_no_control_characters() -> None:
    console = Console(width=120, highlight=False)
    with console.capture() as captured:
        console.print(error("bad [bold]name[/] \x1b[31m [1, 2]"))
    assert captured.get() == "error: bad [bold]name[/] \\x1b[31m [1, 2]\n"
