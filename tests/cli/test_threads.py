"""A command computes on the cores that others leave, unless its user has said on how many."""

from typing import Any

import pytest
import torch

from ligflow import LigflowError
from ligflow.cli import options, serve, threads
from ligflow.cli.threads import Clock, threads_between, use_idle_cores
from ligflow.serve.limits import Limits

BEFORE = Clock(wall=10.0, own=1.0, idle=100.0)


@pytest.mark.parametrize(
    ("own", "idle", "most", "count"),
    [
        (2.0, 2.0, 2, 2),  # two cores, nobody else
        (2.0, 0.1, 2, 1),  # two cores, somebody has one
        (0.5, 0.0, 2, 1),  # everything is taken
        (4.0, 26.0, 8, 8),  # sixteen cores, one other; PyTorch takes as many as there are real ones
        (2.0, 10.4, 16, 6),
        (2.0, 30.0, 1, 1),
    ],
)
def test_threads_are_the_cores_that_others_leave(own: float, idle: float, most: int, count: int) -> None:
    after = Clock(wall=12.0, own=1.0 + own, idle=100.0 + idle)
    assert threads_between(BEFORE, after, most) == count


def test_the_users_own_number_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    class Taken(Clock):
        @classmethod
        def now(cls) -> Clock:
            return Clock(wall=12.0, own=2.0, idle=100.0)

    monkeypatch.setattr(threads, "Clock", Taken)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    counts: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    use_idle_cores(BEFORE)
    assert not counts
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    use_idle_cores(BEFORE)
    assert counts == [1]


def test_the_clock_runs() -> None:
    before = Clock.now()
    torch.randn(300, 300) @ torch.randn(300, 300)
    after = Clock.now()
    assert after.wall > before.wall
    assert after.own >= before.own
    assert after.idle >= before.idle


@pytest.mark.parametrize(("lasting", "calls"), [(False, 1), (True, 0)])
def test_commands_choose_and_a_server_does_not(
    monkeypatch: pytest.MonkeyPatch, lasting: bool, calls: int
) -> None:
    chosen: list[Clock] = []
    monkeypatch.setattr(options, "use_idle_cores", chosen.append)
    options.explainer_of(None, None, None, "float32", True, lasting=lasting)
    assert len(chosen) == calls


def test_the_server_leaves_threads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def explainer_of(*_: Any, lasting: bool = False, **__: Any) -> None:
        asked.append(lasting)
        raise LigflowError("far enough")

    monkeypatch.setattr(serve, "explainer_of", explainer_of)
    with pytest.raises(LigflowError, match="far enough"):
        serve._load(["embedded:minilm"], None, "float32", True, False, Limits())
    assert asked == [True]
