"""Ctrl-C: what is at work finishes, and nothing is lost."""

import signal
from pathlib import Path

import pytest

from ligflow.corpus.runs.progress import Progress
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.runs.worker import Model
from small_runs import SMALL, corpus, equal, stopping

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_ctrl_c_finishes_the_shard_and_the_same_call_goes_on(
    tmp_path: Path, whole: Run, small: Model
) -> None:
    before = signal.getsignal(signal.SIGINT)
    told = stopping(1)
    found = run(tmp_path / "run", corpus(), small, SMALL, shard_size=2, progress=told)
    assert (found.done, found.missing) == ([0], [1, 2])
    assert told.notes == ["stopping; Ctrl-C again stops now"]
    assert "stopped, 2 shards are missing" in (tmp_path / "run" / "run.log").read_text()
    assert signal.getsignal(signal.SIGINT) is before
    again = run(tmp_path / "run", corpus(), small, SMALL, shard_size=2)
    assert not again.missing
    assert equal(again, whole)


def test_a_second_ctrl_c_stops_at_once_and_loses_nothing(tmp_path: Path, whole: Run, small: Model) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, corpus(), small, SMALL, shard_size=2, progress=stopping(1, presses=2))
    assert open_run(tmp_path).done == [0]
    assert equal(run(tmp_path, corpus(), small, SMALL, shard_size=2), whole)


def test_sentences_are_counted_and_ctrl_c_is_answered_within_a_shard(tmp_path: Path, small: Model) -> None:
    """The shard is finished, sentence after sentence, and the answer says how much that is."""
    seen, told = [], stopping(0, sentences=2)

    def hears(state: Progress) -> None:
        seen.append(state.sentences)
        told(state)

    found = run(tmp_path, corpus(), small, SMALL, shard_size=3, batch_size=1, progress=hears)
    assert (found.done, found.missing) == ([0], [1])
    assert seen == sorted(seen)
    assert {1, 2, 3} <= set(seen)
    (note,) = told.notes
    assert note.startswith("finishing 1 sentence, about ")
    assert note.endswith("; Ctrl-C again stops now")
