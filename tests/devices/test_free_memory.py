"""How much memory may still be taken: the least that the machine, a limit or a control group leaves."""

import sys
from pathlib import Path

import pytest
import torch

from ligflow.devices.blocks import default_budget
from ligflow.devices.free_memory import free_on_cpu, left_in_groups


def group(folder: Path, names: tuple[str, str], limit: str, use: int, cache: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{use}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{cache} 30\n")


def test_each_control_group_above_leaves_less_its_cache_can_be_had(tmp_path: Path) -> None:
    names = "memory.max", "memory.current"
    group(tmp_path / "jobs", names, "1000", 400, "inactive_file")
    group(tmp_path / "jobs" / "mine", names, "max", 300, "inactive_file")
    group(tmp_path / "jobs" / "mine" / "step", names, "500", 100, "inactive_file")
    (tmp_path / "own").write_text("0::/jobs/mine/step\n")
    assert [*left_in_groups(tmp_path, tmp_path / "own")] == [430, 630]


def test_control_groups_of_the_first_version(tmp_path: Path) -> None:
    names = "memory.limit_in_bytes", "memory.usage_in_bytes"
    group(tmp_path / "memory", names, "800", 100, "total_inactive_file")
    (tmp_path / "own").write_text("5:cpu,cpuacct:/\n4:memory:/docker/not-seen-from-inside\n0::/\n")
    assert [*left_in_groups(tmp_path, tmp_path / "own")] == [730]


def test_without_control_groups_nothing_is_known(tmp_path: Path) -> None:
    assert [*left_in_groups(tmp_path, tmp_path / "own")] == []


def test_the_least_that_is_left_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.setattr("ligflow.devices.free_memory.left_in_groups", lambda *_: iter([500 * 2**20]))
    assert free_on_cpu() == 500 * 2**20
    assert default_budget(torch.device("cpu")) == 125 * 2**20
    if sys.platform == "linux":
        limit = psutil.Process().memory_info().data + 200 * 2**20
        monkeypatch.setattr("psutil.Process.rlimit", lambda *_: (limit, limit))
        assert 64 * 2**20 <= free_on_cpu() <= 220 * 2**20
    monkeypatch.setattr("ligflow.devices.free_memory.left_in_groups", lambda *_: iter([-5]))
    assert free_on_cpu() == 64 * 2**20
