"""The most memory that is taken while something runs: what is given back before the end counts."""

import psutil
import pytest
import torch

from ligflow.devices.peak_memory import peak_memory

CPU = torch.device("cpu")


def test_what_is_given_back_counts() -> None:
    before = psutil.Process().memory_info().rss
    with peak_memory(CPU) as peak:
        torch.ones(64 * 2**20)  # 256 MiB, which are given back at once
        torch.ones(64 * 2**20)
    assert peak.process - before > 200 * 2**20
    assert peak.process - before < 800 * 2**20
    assert peak.device == 0


def test_an_error_goes_through_and_ends_the_watch() -> None:
    with pytest.raises(RuntimeError, match="broken"), peak_memory(CPU) as peak:
        raise RuntimeError("broken")
    assert peak.process > 0
