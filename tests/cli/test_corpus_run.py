"""`ligflow corpus run`: what is printed, what is in the folder, going on, exit codes, bad input."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from ligflow.corpus.reports import consistency_figures
from ligflow.corpus.runs.store import open_run

Result = tuple[int, str, str]
Run = Callable[..., Result]
pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.fixture
def run(run: Run) -> Run:
    """`ligflow corpus`."""
    return partial(run, "corpus")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("The cat slept.\nRain fell.\n\nWhy not?\n")
    return path


def test_a_run_and_its_report(run: Run, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    options = ["--out", folder, "--layers", "0,2", "--unit", "word", "--shard-size", "2", "--top-k", "2"]
    code, out, err = run("run", texts, *options)
    assert (code, err.strip()) == (0, "")
    assert out.splitlines() == [
        f"3 of 3 sentences explained: {folder}",
        f"Next: ligflow corpus report {folder}",
    ]
    manifest = open_run(folder).manifest
    assert manifest["settings"]["layers"] == [0, 2]
    assert manifest["settings"]["units"] == ["word"]
    assert manifest["settings"]["top_k"] == 2
    assert manifest["corpus"]["source"] == str(texts)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("shards/*/*")}
    assert run("run", texts, *options)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in folder.glob("shards/*/*")} == before
    monkeypatch.setattr(consistency_figures, "draw", lambda *_: [])
    code, out, _ = run("report", folder, "--draws", "100", "--out", tmp_path / "report")
    said = out.splitlines()
    assert (code, said[-1]) == (0, f"wrote {tmp_path / 'report' / 'report.md'}")
    assert said[0].startswith("Sentences: 3. Intervals of single means from so few are too narrow")
    place = said.index("Over words, does the paper's finding hold?")
    assert said[place + 1].startswith(
        "as the paper measured it, raw L2 of the product rule among its own baselines: direct zero"
    )
    assert not {"*", "`"} & {*out}
    assert "3 sentences, layers 0, 2." in (tmp_path / "report" / "report.md").read_text()


def test_a_log_says_how_far_a_run_is(
    run: Run, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ligflow.progress.perf_counter", partial(next, count(0.0, 30.0)))  # at each look
    code, _, err = run("run", texts, "--out", tmp_path / "run", "--layers", "1", "--batch-size", "1")
    assert (code, err.count("sentences: ")) == (0, 2), err  # the third and last is not told
    assert err.startswith("model: sentences: 1 of 3, about ")


def test_other_settings_show_the_difference_line_by_line(run: Run, texts: Path, tmp_path: Path) -> None:
    run("run", texts, "--out", tmp_path / "run", "--layers", "0")
    code, out, err = run("run", texts, "--out", tmp_path / "run", "--layers", "1", "--tol", "0.01")
    assert (code, out) == (1, "")
    assert err.splitlines()[0].endswith("holds a run with other settings:")
    assert err.splitlines()[1:3] == [
        "  settings.layers: [0] there, [1] asked",
        "  settings.tol: 0.001 there, 0.01 asked",
    ]


def test_part_of_a_corpus_with_malformed_lines(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "Rain fell."}\nno json\n{"text": "Why not?"}\n{"text": "Stop."}\n')
    options = ["--out", tmp_path / "run", "--layers", "0", "--column", "text"]
    code, _, err = run("run", path, *options)
    assert code == 1
    assert err.startswith("error: rows.jsonl:2: expected a JSON object")
    assert not (tmp_path / "run" / "manifest.json").exists()
    code, out, _ = run("run", path, *options, "--skip-bad", "--end", "3")
    assert code == 0
    assert "2 of 2 sentences explained, 1 malformed lines skipped" in out


def test_what_is_left_out_is_counted(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("Rain fell.\n" + "word " * 600 + "\n")
    code, out, _ = run("run", path, "--out", tmp_path / "run", "--layers", "0")
    assert code == 0
    assert "1 of 2 sentences explained, 1 left out (the report says why)" in out


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--layers", "one"], 2, "--layers: 'one' is not a list of layers"),
        (["--unit", "letter"], 2, "--unit 'letter' is unknown; choose from token, word."),
        (["--engine", "slurm"], 2, "--engine 'slurm' is unknown; choose from local, ray."),
        (["--ray-address", "auto"], 2, "--ray-address is for --engine ray."),
        (["--cpus", "2"], 2, "--cpus is for --engine ray."),
        (["--engine", "ray", "--device", "cuda:0,cuda:1"], 2, "'cuda:0,cuda:1' is for --engine local"),
        (["--workers", "0"], 2, "workers is 0"),
        (["--tol", "7"], 2, "tol is 7.0"),
        (["--scalarization", "l3"], 2, "l3"),
        (["--format", "docx"], 2, "--format 'docx' is unknown; choose from text, conllu"),
        (["--sample", "0"], 1, "sample is 0"),
        (["--start", "9"], 1, "no sentences, or none in the part that was chosen"),
        (["--layers", "6"], 1, "no layer 6: there are 6"),
        (["--shard-size", "0"], 1, "shard_size is 0"),
        (["--model", "embedded:none"], 1, "Unknown embedded model"),
        (["--dtype", "float16"], 2, "--dtype 'float16' is unknown"),
    ],
)
def test_bad_options(
    run: Run, texts: Path, tmp_path: Path, options: list[str], code: int, words: str
) -> None:
    found, out, err = run("run", texts, "--out", tmp_path / "run", *options)
    assert (found, out) == (code, "")
    assert err.startswith("error: ")
    assert words in err
    assert not (tmp_path / "run" / "manifest.json").exists()


def test_a_corpus_that_is_not_there(run: Run, tmp_path: Path) -> None:
    code, _, err = run("run", tmp_path / "none.txt", "--out", tmp_path / "run")
    assert code == 1
    assert "none.txt" in err


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, model: str) -> None:
    """The signal reaches a process of its own, as from a terminal."""
    path, folder = tmp_path / "corpus.txt", tmp_path / "run"
    path.write_text("Nobody saw the old light on the cliff.\n" * 400)
    command = [sys.executable, "-m", "ligflow", "corpus", "run", str(path), "--out", str(folder)]
    with subprocess.Popen(
        [*command, "--shard-size", "1", "--model", model], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        while not (folder / "shards" / "00000").is_dir():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    done = len(open_run(folder).done)
    assert process.returncode == 130
    assert f"Stopped: {done} of 400 shards of {folder} are done, and safe." in err.replace("\n", " ")
    assert "Run the same command again to go on." in err.replace("\n", " ")
    assert 1 <= done < 400
