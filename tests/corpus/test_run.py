"""Runs on a corpus: what is in the folder, going on after an interruption, refusals, engines, damage."""

import json
import logging
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from ligflow import Explainer, Flow, LigflowError, errors
from ligflow.corpus.runs import plan
from ligflow.corpus.runs.engines import here, processes
from ligflow.corpus.runs.folders import locked
from ligflow.corpus.runs.kept_maps import flow
from ligflow.corpus.runs.progress import EXPLAINING, LOADING, READING, Meter, Progress
from ligflow.corpus.runs.ray_engine import actors
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.runs.watch import Watch, counting, look
from ligflow.corpus.runs.worker import Model
from ligflow.corpus.sources.corpus import Corpus
from ligflow.corpus.sources.sentence import BadLine, Sentence
from ligflow.corpus.tables.experiment import Experiment
from ligflow.corpus.tables.schema import TABLES
from runs_by_hand import run_by_hand

TEXTS = ("The cat slept.", "Nobody saw the old light.", "Rain fell.", "She gave him a book.", "Why not?")
SMALL = Experiment(layers=(0,))
pytestmark = pytest.mark.usefixtures("no_shape_checks")


def corpus(texts: tuple[str, ...] = TEXTS, **about: Any) -> Corpus:
    def read() -> Iterator[Sentence]:
        return (Sentence(number, text, f"made:{number + 1}") for number, text in enumerate(texts))

    return Corpus(read, {"source": "made"} | about)


def tables(found: Run) -> dict[str, pa.Table]:
    return {
        name: pa.concat_tables([found.table(shard, name) for shard in found.done]).unify_dictionaries()
        for name in TABLES
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An uninterrupted run in shards of two, with the threads that fast tests have: they decide rounding."""
    available = torch.get_num_threads()
    torch.set_num_threads(1)
    found = run(tmp_path_factory.mktemp("runs") / "whole", corpus(), experiment=SMALL, shard_size=2)
    torch.set_num_threads(available)
    return found


def equal(one: Run, other: Run) -> bool:
    ours, theirs = tables(one), tables(other)
    return all(ours[name].equals(theirs[name]) for name in TABLES)


def close(one: Run, other: Run) -> None:
    """The same rows, with numbers that differ by rounding; ranks may turn where values are equal."""
    for name in ("metrics", "cells"):
        ours, theirs = (table.to_pandas() for table in (tables(one)[name], tables(other)[name]))
        assert len(ours) == len(theirs)
        for column in ours.columns:
            if ours[column].dtype.kind != "f":
                if column not in ("nodes", "unmet"):
                    assert ours[column].astype(str).equals(theirs[column].astype(str)), column
            elif column in ("l2", "relative_l2", "normalised_l2", "pearson", "total"):
                gap = (ours[column] - theirs[column]).abs() / theirs[column].abs().clip(lower=1)
                assert (gap.dropna() < 1e-3).all(), column
                assert ours[column].isna().equals(theirs[column].isna()), column
            elif column in ("spearman", "top_k"):
                assert ((ours[column] - theirs[column]).abs().dropna() > 1e-3).mean() < 0.01, column


# --- what is in a run -----------------------------------------------------------------------------


def test_a_run_has_a_manifest_tables_and_a_log(whole: Run) -> None:
    manifest = json.loads((whole.folder / "manifest.json").read_text())
    assert (manifest["sentences"], manifest["shards"], manifest["shard_size"]) == (5, 3, 2)
    assert manifest["model"]["name"] == "embedded:minilm"
    assert manifest["model"]["layers"] == 6
    assert manifest["settings"]["layers"] == [0]
    assert manifest["corpus"]["source"] == "made"
    assert len(manifest["corpus"]["fingerprint"]) == 64
    assert manifest["versions"]["torch"] == torch.__version__
    assert whole.done == [0, 1, 2]
    found = tables(whole)
    assert {name: table.schema for name, table in found.items()} == TABLES
    assert found["sentences"]["sentence"].to_pylist() == [0, 1, 2, 3, 4]
    assert found["sentences"]["left_out"].null_count == 5
    lines = (whole.folder / "run.log").read_text().splitlines()
    assert "begun: 5 sentences in 3 shards" in lines[0]
    assert lines[-1].endswith("complete")
    assert not list(whole.folder.glob("shards/.*"))


def test_the_numbers_are_those_of_one_sentence_alone(whole: Run) -> None:
    explainer = Explainer.from_pretrained()
    settings = {"att_baseline": "itb", "mlp_baseline": "att_itb_a0", "layer_baseline": "itb"}
    one = explainer.explain(TEXTS[3], layers=0, **settings)
    gap = (one.composed()[0] - one.z2z[0]).norm(dim=-1)
    frame = tables(whole)["metrics"].to_pandas()
    rows = frame[
        (frame.sentence == 3) & (frame.direct == "itb") & (frame["map"] == "composed") & (frame.att == "itb")
        & (frame.mlp == "att_itb_a0") & (frame.rule == "conserving") & frame.diagonal
    ]  # fmt: skip
    assert rows["l2"].tolist() == pytest.approx(gap.tolist(), rel=1e-2)


def test_running_again_computes_nothing(whole: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.folder.glob("shards/*/*")}
    told: list[Progress] = []
    run(whole.folder, corpus(), experiment=SMALL, shard_size=2, progress=told.append)
    assert {path: path.stat().st_mtime_ns for path in whole.folder.glob("shards/*/*")} == before
    doing = [Progress("model", READING, 0, 0, 0, 0), Progress("model", LOADING, 0, 0, 0, 0)]
    assert told == [*doing, Progress("model", EXPLAINING, 3, 3, 5, 5)]


def test_files_can_be_read_by_whom_the_folder_allows(whole: Run) -> None:
    modes = {path.stat().st_mode & 0o777 for path in whole.folder.glob("shards/*/*")}
    plain = whole.folder / "plain"
    plain.touch()
    assert modes == {plain.stat().st_mode & 0o777}
    plain.unlink()


# --- going on -------------------------------------------------------------------------------------


def stopping(after: int, presses: int = 1, sentences: int = 0) -> Any:
    """Presses Ctrl-C when some shards are done, and some sentences; `told.notes` are the answers."""
    left, notes = [signal.SIGINT] * presses, []

    def told(state: Progress) -> None:
        if state.note:
            notes.append(state.note)
        elif state.shards == after and state.sentences >= sentences:
            while left:
                signal.raise_signal(left.pop())

    told.notes = notes  # type: ignore[attr-defined]
    return told


def test_ctrl_c_finishes_the_shard_and_the_same_call_goes_on(tmp_path: Path, whole: Run) -> None:
    before = signal.getsignal(signal.SIGINT)
    told = stopping(1)
    found = run(tmp_path / "run", corpus(), experiment=SMALL, shard_size=2, progress=told)
    assert (found.done, found.missing) == ([0], [1, 2])
    assert told.notes == ["stopping; Ctrl-C again stops now"]
    assert "stopped, 2 shards are missing" in (tmp_path / "run" / "run.log").read_text()
    assert signal.getsignal(signal.SIGINT) is before
    again = run(tmp_path / "run", corpus(), experiment=SMALL, shard_size=2)
    assert not again.missing
    assert equal(again, whole)


def test_a_second_ctrl_c_stops_at_once_and_loses_nothing(tmp_path: Path, whole: Run) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, corpus(), experiment=SMALL, shard_size=2, progress=stopping(1, presses=2))
    assert open_run(tmp_path).done == [0]
    assert equal(run(tmp_path, corpus(), experiment=SMALL, shard_size=2), whole)


def test_sentences_are_counted_and_ctrl_c_is_answered_within_a_shard(tmp_path: Path) -> None:
    """The shard is finished, sentence after sentence, and the answer says how much that is."""
    seen, told = [], stopping(0, sentences=2)

    def hears(state: Progress) -> None:
        seen.append(state.sentences)
        told(state)

    found = run(tmp_path, corpus(), experiment=SMALL, shard_size=3, batch_size=1, progress=hears)
    assert (found.done, found.missing) == ([0], [1])
    assert seen == sorted(seen)
    assert {1, 2, 3} <= set(seen)
    (note,) = told.notes
    assert note.startswith("finishing 1 sentence, about ")
    assert note.endswith("; Ctrl-C again stops now")


def test_how_far_a_shard_is_that_another_process_computes(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    watch = Watch(lambda: False, lambda *now: heard.append(now), print, print)
    with counting(tmp_path, 7) as ticked:
        ticked(7, 2)
        look(watch, tmp_path, [7, 8])
        ticked(7, 5)
        look(watch, tmp_path, [7])
        ticked(7, 0)  # begun again
        look(watch, tmp_path, [7])
    look(watch, tmp_path, [7])
    assert heard == [(7, 2), (8, 0), (7, 5), (7, 0), (7, 0)]
    assert not list(tmp_path.glob("shards/.*"))


def test_a_meter_does_not_go_back_but_for_a_shard_that_is_lost(whole: Run) -> None:
    seen: list[int] = []
    meter = Meter("model", lambda state: seen.append(state.sentences))
    meter.begin(Run(whole.folder / "none", whole.manifest))
    for sentences in (0, 1, 0, 2):
        meter.ticked(1, sentences)
    meter.lost(1)
    meter.ticked(1, 1)
    meter.finished(1)
    assert seen == [0, 0, 1, 2, 1, 2]


def test_what_a_killed_writer_left_is_tidied_away(tmp_path: Path, whole: Run) -> None:
    run(tmp_path, corpus(), experiment=SMALL, shard_size=2, progress=stopping(1))
    left = tmp_path / "shards" / ".00001.abc.part"
    left.mkdir()
    (left / "metrics.parquet").write_bytes(b"half")
    found = run(tmp_path, corpus(), experiment=SMALL, shard_size=2)
    assert not left.exists()
    assert equal(found, whole)


def test_a_shard_is_there_only_when_all_of_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process finds while a shard is written: nothing, until all of it is synced."""
    seen: list[list[int]] = []
    sync = os.fsync

    def watched(handle: int) -> None:
        seen.append(open_run(tmp_path).done)
        sync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    found = run_by_hand(tmp_path, sentences=2, shard_size=1, layers=(0,))
    files = ["cells.parquet", "metrics.parquet", "sentences.parquet", "shard.json"]
    assert sorted(path.name for path in found.place(1).iterdir()) == files
    assert seen == 5 * [[]] + 5 * [[0]]  # four files and their folder
    assert found.done == [0, 1]
    assert found.damage(0) is None


def test_a_plan_that_was_cut_short_is_made_again(tmp_path: Path, whole: Run) -> None:
    (tmp_path / "sentences").mkdir()
    (tmp_path / "sentences" / "00000.parquet").write_bytes(b"half")
    assert equal(run(tmp_path, corpus(), experiment=SMALL, shard_size=2), whole)


@pytest.mark.parametrize("kwargs", [{"batch_size": 1}, {"batch_size": 2}, {"shard_size": 5}])
def test_batches_and_shards_change_only_rounding(tmp_path: Path, whole: Run, kwargs: dict[str, int]) -> None:
    close(run(tmp_path, corpus(), experiment=SMALL, **({"shard_size": 2} | kwargs)), whole)


# --- refusals -------------------------------------------------------------------------------------


def test_other_settings_are_refused_with_the_difference(whole: Run) -> None:
    other = Experiment(layers=(0,), tol=1e-2, units=("token", "word"))
    with pytest.raises(LigflowError, match="holds a run with other settings") as caught:
        run(whole.folder, corpus(split="test"), experiment=other, shard_size=3)
    text = str(caught.value)
    assert "settings.tol: 0.001 there, 0.01 asked" in text
    assert "settings.units: ['token'] there, ['token', 'word'] asked" in text
    assert "corpus.split: None there, 'test' asked" in text
    assert "shard_size: 2 there, 3 asked" in text


def test_another_model_is_refused(whole: Run) -> None:
    with pytest.raises(LigflowError, match=r"model.weights: 'as loaded' there, 'random, seed 1' asked"):
        run(whole.folder, corpus(), Model(random_weights=1), SMALL, shard_size=2)


def test_a_corpus_that_changed_is_refused(whole: Run) -> None:
    with pytest.raises(LigflowError, match="its sentences have changed"):
        run(whole.folder, corpus((*TEXTS[:4], "Why?")), experiment=SMALL, shard_size=2)


def test_a_file_that_was_not_touched_is_not_read_again(tmp_path: Path) -> None:
    source = tmp_path / "corpus.txt"
    source.write_text("The cat slept.\n")
    reads = []

    def read() -> Iterator[Sentence]:
        reads.append(1)
        return (Sentence(n, line, f"{n}") for n, line in enumerate(source.read_text().splitlines()))

    one = Corpus(read, {"source": "made"}, file=source)
    run(tmp_path / "run", one, experiment=SMALL)
    run(tmp_path / "run", one, experiment=SMALL)
    assert len(reads) == 1
    source.touch()
    run(tmp_path / "run", one, experiment=SMALL)
    assert len(reads) == 2


def test_other_versions_are_warned_of_and_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, corpus(TEXTS[:1]), experiment=SMALL)
    monkeypatch.setattr(plan, "_versions", lambda: {"torch": "9.9"})
    with pytest.warns(errors.RunWarning, match="begun with torch"):
        run(tmp_path, corpus(TEXTS[:1]), experiment=SMALL)
    assert "versions differ" in (tmp_path / "run.log").read_text()


def test_two_runs_in_one_folder_at_once(whole: Run) -> None:
    with locked(whole.folder), pytest.raises(LigflowError, match="Another run is at work"):
        run(whole.folder, corpus(), experiment=SMALL, shard_size=2)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"shard_size": 0}, "shard_size is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"experiment": Experiment(layers=(6,))}, "no layer 6: there are 6"),
        ({"model": Model("embedded:none")}, "Unknown embedded model"),
        ({"model": Model(dtype="bfloat16")}, "dtype is 'bfloat16'"),
    ],
)
def test_bad_arguments_leave_no_run_behind(tmp_path: Path, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(LigflowError, match=message):
        run(tmp_path, corpus(), **kwargs)
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"units": ("letter",)}, "Unknown unit 'letter'"),
        ({"units": ()}, "give each of token, word at most once"),
        ({"units": ("token", "token")}, "give each of token, word at most once"),
        ({"top_k": 0}, "top_k is 0"),
        ({"tol": 2.0}, "tol is 2.0"),
        ({"quadrature": "simpson"}, "simpson"),
    ],
)
def test_bad_experiments(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(LigflowError, match=message):
        Experiment(**kwargs)


def test_an_empty_corpus(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="The corpus has no sentences"):
        run(tmp_path, corpus(()), experiment=SMALL)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LigflowError, match="Cannot make the folder"):
        run(tmp_path / "file" / "run", corpus(), experiment=SMALL)
    with pytest.raises(LigflowError, match="Cannot make the folder"):
        run("/proc/none", corpus(), experiment=SMALL)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="holds no run"):
        open_run(tmp_path)
    for text in ("[]", "{", "[" * 100_000):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(LigflowError, match="is no manifest"):
            open_run(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(LigflowError, match="upgrade ligflow"):
        open_run(tmp_path)


MANIFEST = Path(__file__).with_name("manifest_of_format_1.json")


def test_a_manifest_that_was_written_long_ago(tmp_path: Path) -> None:
    """The file stays as the first version wrote it; what a later one adds may stand beside."""
    known = json.loads(MANIFEST.read_text())
    for more in ({}, {"colour": 1, "model": known["model"] | {"size": "small"}}):
        (tmp_path / "manifest.json").write_text(json.dumps(known | more))
        found = open_run(tmp_path)
        assert (found.shards, found.missing, found.size(0)) == (1, [0], 2)
        assert found.manifest == known | more


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("shards", None, "shards: Field required"),
        ("shards", "3", "shards: Input should be a valid integer"),
        ("shard_size", 0, "shard_size: Input should be greater than or equal to 1"),
        ("settings.tol", None, "settings.tol: Field required"),
        ("settings.layers", [0, "1"], "settings.layers.1: Input should be a valid integer"),
        ("corpus.file", [1], "corpus.file: List should have at least 2 items"),
        ("model.fingerprint", 7, "model.fingerprint: Input should be a valid string"),
        ("format", 0, "format: Input should be greater than or equal to 1"),
        ("versions", None, "versions: Field required"),
    ],
)
def test_a_wrong_field_of_a_manifest_is_named(tmp_path: Path, field: str, value: Any, said: str) -> None:
    known = json.loads(MANIFEST.read_text())
    *outer, name = field.split(".")
    part = known[outer[0]] if outer else known
    part.update({name: value})
    if value is None:
        del part[name]
    (tmp_path / "manifest.json").write_text(json.dumps(known))
    with pytest.raises(LigflowError, match=rf"manifest.json' is damaged: {said}.*\. Bring back a copy"):
        open_run(tmp_path)


def test_what_a_run_logs_can_be_heard(
    whole: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    found = Run(tmp_path, whole.manifest)
    found.log("heard by nobody")
    with caplog.at_level(logging.INFO, logger="ligflow.corpus"):
        found.log("heard")
    assert [one.getMessage() for one in caplog.records] == [f"{tmp_path}: heard"]
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["heard by nobody", "heard"]
    assert capfd.readouterr() == ("", "")
    silent = logging.getLogger("ligflow").handlers
    assert [type(one) for one in silent] == [logging.NullHandler]


FULL = """
import resource, sys
from ligflow.corpus.runner import Corpus, run
from ligflow.corpus.sentence import Sentence
from ligflow.corpus.variants import Experiment
from ligflow.corpus.worker import loaded, Model
loaded(Model())
def read():
    return (Sentence(n, "The cat slept. " * (1 + 30 * (n > 1)), "made") for n in range(3))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
run(sys.argv[1], Corpus(read, {}), experiment=Experiment(layers=(0,)), shard_size=1)
"""


def test_a_full_disk_keeps_what_is_done(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: both end a write half way."""
    found = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), "150000"], capture_output=True, text=True, check=False
    )
    assert "Shard 2 could not be written" in found.stderr
    assert "Finished shards are safe" in found.stderr
    assert open_run(tmp_path).done == [0, 1]
    assert not list(tmp_path.glob("shards/.*"))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


# --- sentences that cannot be explained -----------------------------------------------------------


def test_sentences_that_cannot_be_explained_are_listed(tmp_path: Path) -> None:
    texts = ("The cat slept.", "word " * 600, "\u200b", "Rain fell.")
    found = tables(run(tmp_path, corpus(texts), experiment=SMALL))
    reasons = found["sentences"]["left_out"].to_pylist()
    assert reasons[0] is reasons[3] is None
    assert "602 tokens, and the model takes 512" in reasons[1]
    assert found["sentences"]["tokens"].to_pylist()[1] is None
    assert set(found["metrics"]["sentence"].to_pylist()) >= {0, 3}
    assert 1 not in set(found["metrics"]["sentence"].to_pylist())
    assert open_run(tmp_path).left_out(0) == sum(reason is not None for reason in reasons)


def test_a_corpus_of_which_nothing_can_be_explained(tmp_path: Path) -> None:
    found = tables(run(tmp_path, corpus(("word " * 600,)), experiment=SMALL))
    assert found["metrics"].num_rows == found["cells"].num_rows == 0
    assert found["sentences"].num_rows == 1


def test_bad_lines_are_in_the_manifest(tmp_path: Path) -> None:
    one = corpus()
    one.bad.append(BadLine(3, "made:4", "no tabs"))
    found = run(tmp_path, one, experiment=SMALL)
    assert found.manifest["corpus"]["bad_lines"] == 1
    assert found.manifest["corpus"]["left_out_lines"] == ["made:4: no tabs"]


# --- damage ---------------------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path: Path, whole: Run) -> Run:
    """A copy of the whole run, to be damaged."""
    import shutil

    return open_run(shutil.copytree(whole.folder, tmp_path / "copy"))


def test_a_missing_file_is_named_and_recomputed_on_request(damaged: Run, whole: Run) -> None:
    (damaged.place(1) / "cells.parquet").unlink()
    with pytest.raises(LigflowError, match=r"Shard 1 of .* is damaged: cells.parquet is missing"):
        run(damaged.folder, corpus(), experiment=SMALL, shard_size=2)
    assert equal(run(damaged.folder, corpus(), experiment=SMALL, shard_size=2, redo_damaged=True), whole)
    assert "shard 1 is damaged" in (damaged.folder / "run.log").read_text()


@pytest.mark.parametrize("where", [100, -100, None])
def test_a_changed_file_is_named_and_recomputed_on_request(
    damaged: Run, whole: Run, where: int | None
) -> None:
    path = damaged.place(2) / "metrics.parquet"
    content = bytearray(path.read_bytes())
    if where is None:
        content = content[: len(content) // 2]
    else:
        content[where] ^= 0xFF
    path.write_bytes(content)
    assert damaged.damage(2) == "metrics.parquet is not as it was written"
    with pytest.raises(LigflowError, match=r"metrics.parquet' \(shard 2\) is damaged"):
        damaged.table(2, "metrics")
    assert equal(run(damaged.folder, corpus(), experiment=SMALL, shard_size=2, redo_damaged=True), whole)


def test_a_shard_without_its_seal_is_damaged(damaged: Run) -> None:
    (damaged.place(0) / "shard.json").write_text("{")
    assert str(damaged.damage(0)).startswith("shard.json cannot be read")


# --- the twin, and maps ---------------------------------------------------------------------------


def test_a_twin_has_the_same_sentences_and_other_weights(tmp_path: Path) -> None:
    found = run(tmp_path, corpus(TEXTS[:2]), experiment=SMALL, twin=True)
    twin = found.twin
    assert twin is not None
    assert not twin.missing
    ours, theirs = found.manifest, twin.manifest
    assert theirs["model"]["weights"] == "random, seed 0"
    assert ours["model"]["fingerprint"] != theirs["model"]["fingerprint"]
    assert ours["corpus"]["fingerprint"] == theirs["corpus"]["fingerprint"]
    assert ours["settings"] == theirs["settings"]
    again = run(tmp_path, corpus(TEXTS[:2]), experiment=SMALL, twin=True).twin
    assert again is not None
    assert equal(twin, again)


def test_a_twin_can_be_added_to_a_run_and_is_the_same_anywhere(tmp_path: Path) -> None:
    one = run(tmp_path / "one", corpus(TEXTS[:2]), experiment=SMALL)
    assert one.twin is None
    one = run(tmp_path / "one", corpus(TEXTS[:2]), experiment=SMALL, twin=True)
    two = run(tmp_path / "two", corpus(TEXTS[:2]), Model(random_weights=0), SMALL)
    assert one.twin is not None
    assert equal(one.twin, two)


def test_kept_maps_are_the_flows(tmp_path: Path) -> None:
    found = run(tmp_path, corpus(TEXTS[:3]), experiment=Experiment(layers=(0, 1), maps=True), shard_size=2)
    ours = flow(found, 2, att="zero", mlp="zero", direct="itb_zero_ratio")
    settings = {"att_baseline": "zero", "mlp_baseline": "zero", "layer_baseline": "itb_zero_ratio"}
    theirs = Explainer.from_pretrained().explain(TEXTS[2], layers=(0, 1), **settings)
    assert isinstance(ours, Flow)
    assert (ours.tokens, ours.layers, ours.targets) == (theirs.tokens, theirs.layers, theirs.targets)
    assert set(ours.tensors) == set(theirs.tensors)
    for name in ("z2u", "u2z", "z2z"):
        torch.testing.assert_close(ours.tensors[name], theirs.tensors[name], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(ours.composed(), theirs.composed(), rtol=1e-2, atol=1e-3)
    assert ours.merge_words().tokens == theirs.merge_words().tokens
    loaded = Flow.load(ours.save(tmp_path / "flow.safetensors"))
    assert torch.equal(loaded.z2z, ours.z2z)


def test_maps_that_were_not_kept(whole: Run, tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="kept no maps"):
        flow(whole, 0)
    with pytest.raises(LigflowError, match="holds sentence 99"):
        flow(whole, 99)
    kept = run(tmp_path, corpus(("Hi.", "word " * 600)), experiment=Experiment(layers=(0,), maps=True))
    with pytest.raises(LigflowError, match="Sentence 1 was left out"):
        flow(kept, 1)
    with pytest.raises(LigflowError, match="Unknown MLP baseline 'itb'; choose from zero, att_itb_a0"):
        flow(kept, 0, mlp="itb")


def test_maps_that_are_damaged(tmp_path: Path) -> None:
    """One bit of one number, which the format itself would not notice."""
    kept = run(tmp_path, corpus(("Hi.",)), experiment=Experiment(layers=(0,), maps=True))
    path = kept.place(0) / "maps.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(LigflowError, match=r"maps.safetensors' \(shard 0\) is damaged"):
        flow(kept, 0)


# --- engines --------------------------------------------------------------------------------------


def test_processes_give_the_same(tmp_path: Path, whole: Run) -> None:
    found = run(tmp_path, corpus(), experiment=SMALL, shard_size=2, engine=processes([None], 2))
    close(found, whole)


def test_an_error_in_a_process_is_the_error_of_the_run(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="Unknown embedded model"):
        run(tmp_path, corpus(), Model("embedded:none"), SMALL, engine=processes([None], 1))


@pytest.mark.slow
def test_a_second_ctrl_c_with_processes_stops_them_at_once(tmp_path: Path, whole: Run) -> None:
    """One worker has a shard that would take minutes; nothing of it is left, and the run goes on."""
    texts = (*TEXTS, " ".join(["word"] * 300))
    engine = processes([None], 2)
    told = stopping(5, presses=2)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, corpus(texts), shard_size=1, engine=engine, progress=told)
    assert open_run(tmp_path).missing == [5]
    assert not list(tmp_path.glob("shards/.*"))
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_ctrl_c_with_processes(tmp_path: Path, whole: Run) -> None:
    engine = processes([None], 2)
    found = run(tmp_path, corpus(), experiment=SMALL, shard_size=1, engine=engine, progress=stopping(1))
    assert 1 <= len(found.done) <= 3
    again = run(tmp_path, corpus(), experiment=SMALL, shard_size=1, engine=here())
    close(again, whole)


def test_wrong_engines() -> None:
    with pytest.raises(LigflowError, match="workers is 0"):
        processes([None], 0)


@pytest.mark.slow
def test_ray_gives_the_same(tmp_path: Path, whole: Run) -> None:
    pytest.importorskip("ray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine = actors(workers=2, address="local")
        found = run(tmp_path / "run", corpus(), experiment=SMALL, shard_size=2, engine=engine)
        close(found, whole)
        with pytest.raises(LigflowError, match="Unknown embedded model"):
            run(tmp_path / "bad", corpus(), Model("embedded:none"), SMALL, engine=engine)


@pytest.mark.slow
def test_a_cluster_that_cannot_be_reached(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(LigflowError, match=r"No Ray cluster could be reached at '127.0.0.1:1'"):
            run(tmp_path, corpus(), experiment=SMALL, engine=actors(address="127.0.0.1:1"))


def test_ray_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LigflowError, match=r"pip install 'ligflow\[ray\]'"):
        run(tmp_path, corpus(), experiment=SMALL, engine=actors())


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["here", "processes", "ray"])
def test_killed_runs_end_as_if_nothing_had_happened(engine: str) -> None:
    """SIGKILL at random moments; `benchmarks/kills.py --kills 12` does it more often."""
    script = Path(__file__).parents[2] / "benchmarks" / "kills.py"
    options = ["--engine", engine, "--kills", "3", "--worker-kills", "1" if engine == "ray" else "0"]
    done = subprocess.run(
        [sys.executable, script, *options], capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["equal"], done.stdout
    assert found["kills"] >= 3
    assert found["left behind"] == 0
