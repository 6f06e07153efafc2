"""At what time a token of sound begins."""

from types import SimpleNamespace

import pytest
import torch

from ligflow.inputs.frames import name_frames, seconds_of


def test_the_seconds_of_a_recording() -> None:
    assert seconds_of(SimpleNamespace(), {"input_values": torch.zeros(1, 24_000)}) == 1.5
    mel = {"input_features": torch.zeros(1, 80, 3000)}
    assert seconds_of(SimpleNamespace(num_mel_bins=80), mel) == pytest.approx(30)
    assert seconds_of(SimpleNamespace(num_mel_bins=80), {"input_features": torch.zeros(1, 50, 80)}) == 0.5
    assert seconds_of(SimpleNamespace(), {"input_features": torch.zeros(1, 40, 80)}) == pytest.approx(0.8)
    assert seconds_of(SimpleNamespace(), {"input_ids": torch.zeros(1, 5)}) is None


def test_frames_are_named_by_their_beginning() -> None:
    tokens = name_frames(0.08, 4)
    assert tokens.labels == ("0.00s", "0.02s", "0.04s", "0.06s")
    assert tokens.layout == {"frames": {"seconds": 0.02}}
    assert tokens.notes[0].startswith("tokens are frames of 20 ms")
    assert name_frames(0.01, 2).labels == ("0.000s", "0.005s")
