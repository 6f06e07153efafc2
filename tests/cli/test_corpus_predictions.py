"""`ligflow corpus predictions`: what is printed, going on, bad input by its line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from language_models import saved
from ligflow.corpus.runs.store import open_run

Result = tuple[int, str, str]
Run = Callable[..., Result]
pytestmark = pytest.mark.usefixtures("no_shape_checks")
LINES = ('{"prompt": "the cat sat on the", "answer": "mat"}', '{"prompt": "the cat", "group": "cats"}')


@pytest.fixture(scope="session")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved("gpt2", tmp_path_factory.mktemp("speaker"))


def test_a_run_and_going_on(run: Run, speaker: str, tmp_path: Path) -> None:
    source, folder = tmp_path / "a.jsonl", tmp_path / "run"
    source.write_text("\n".join(LINES))
    options = ["--model", speaker, "--out", folder, "--shard-size", "1", "--tol", "0.01"]
    code, out, err = run("corpus", "predictions", source, *options)
    assert (code, err.strip()) == (0, "")
    said = [f"2 of 2 prompts explained: {folder}", f"Next: ligflow corpus report {folder}"]
    assert out.splitlines() == said
    manifest = open_run(folder).manifest
    assert (manifest["kind"], manifest["settings"]["tol"]) == ("predictions", 0.01)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("shards/*/*")}
    assert run("corpus", "predictions", source, *options)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in folder.glob("shards/*/*")} == before
    code, _, err = run("corpus", "predictions", source, *options[:-1], "0.1")
    assert (code, "settings.tol: 0.01 there, 0.1 asked" in err) == (1, True)
    code, out, _ = run("corpus", "report", folder, "--draws", "100", "--out", tmp_path / "report")
    said = out.splitlines()
    assert (code, said[-1]) == (0, f"wrote {tmp_path / 'report' / 'report.md'}")
    assert said[0] == "Prompts: 2. Intervals from fewer than 30 are too narrow."
    assert said[2].startswith("None of 8 heads carries the task")
    assert run("corpus", "report", folder, "--pages", "-1")[0] == 2
    code, _, err = run("corpus", "heads", folder)
    assert (code, "a run on prompts, and one on sentences is expected" in err) == (1, True)


def test_bad_lines_are_named_or_left_out(run: Run, speaker: str, tmp_path: Path) -> None:
    source, folder = tmp_path / "a.jsonl", tmp_path / "run"
    source.write_text("\n".join([LINES[0], '{"answer": "mat"}', '{"prompt": "the cat", "answer": "slept"}']))
    command = ["corpus", "predictions", source, "--model", speaker, "--out", folder]
    code, _, err = run(*command)
    assert (code, "a.jsonl:2: the object has no 'prompt'" in err) == (1, True)
    assert not (folder / "manifest.json").exists()
    code, _, err = run(*command, "--start", "2")
    assert (code, "a.jsonl:3: The answer 'slept' is not in this model's vocabulary" in err) == (1, True)
    code, out, _ = run(*command, "--skip-bad")
    assert (code, out.splitlines()[0]) == (
        0,
        f"1 of 1 prompts explained, 2 malformed lines skipped: {folder}",
    )
    listed = open_run(folder).manifest["corpus"]["left_out_lines"]
    assert [line.partition(": ")[0] for line in listed] == ["a.jsonl:2", "a.jsonl:3"]


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ray-address", "auto"], "--ray-address is for --engine ray"),
        (["--tol", "2"], "tol is 2.0"),
        (["--score", "loss"], "--score 'loss' is unknown"),
        (["--columns", "answer=a"], "names no prompt"),
    ],
)
def test_bad_usage(run: Run, speaker: str, tmp_path: Path, options: list[str], said: str) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text(LINES[0])
    code, _, err = run(
        "corpus", "predictions", source, "--model", speaker, "--out", tmp_path / "run", *options
    )
    assert code != 0
    assert said in " ".join(err.split())
