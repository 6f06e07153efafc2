"""Runs that are kept until layers are recorded on the same inputs."""

import pytest
import torch

from ligflow.explainer import loaded_runs
from ligflow.explainer.loaded_runs import LoadedRuns
from ligflow.recording.call import Call


def calls(numbers: int) -> list[Call]:
    return [Call("layer", torch.nn.Identity(), (), {}, torch.zeros(numbers))]


def test_a_run_is_taken_once_and_by_equal_inputs_only() -> None:
    runs, own = LoadedRuns(), calls(3)
    runs.keep({"input_ids": torch.tensor([[1, 2]])}, own)
    others = [
        {"input_ids": torch.tensor([[1, 3]])},
        {"input_ids": torch.tensor([[1, 2, 3]])},
        {"input_ids": torch.tensor([[1, 2]]), "attention_mask": torch.tensor([[1, 1]])},
        {"input_ids": torch.tensor([[1.0, 2.0]])},
    ]
    assert [runs.take(inputs) for inputs in others] == [None] * 4
    assert runs.take({"input_ids": torch.tensor([[1, 2]])}) is own
    assert runs.take({"input_ids": torch.tensor([[1, 2]])}) is None


def test_the_oldest_go_where_they_take_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded_runs, "_BYTES", 100)
    runs, inputs = LoadedRuns(), [{"x": torch.tensor([number])} for number in range(3)]
    for each, numbers in zip(inputs, (10, 10, 10), strict=True):
        runs.keep(each, calls(numbers))
    assert [runs.take(each) is None for each in inputs] == [True, False, False]
    runs.keep(inputs[0], calls(1000))  # larger than all that may be kept
    assert runs.take(inputs[0]) is not None
