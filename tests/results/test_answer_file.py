"""Files of answers: what is wrong with a damaged one is named."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hand_made_prediction import answer_of
from ligflow import Answer, LigflowError


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("rows", [], "rows should be a list"),
        ("format", 2, "format 2, and this version reads up to 1"),
        ("rows", [{}] * 3, "format: Field required"),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, field: str, value: object, said: str) -> None:
    file = answer_of().save(tmp_path / "a.safetensors")
    with safe_open(file, framework="pt") as opened:
        labels = json.loads(opened.metadata()["ligflow_answer"]) | {field: value}
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    save_file(tensors, file, metadata={"ligflow_answer": json.dumps(labels)})
    with pytest.raises(LigflowError, match=said):
        Answer.load(file)


def test_a_tensor_of_no_row_is_refused(tmp_path: Path) -> None:
    file = answer_of().save(tmp_path / "a.safetensors")
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    save_file({**tensors, "3/error": torch.zeros(8)}, file, metadata=metadata)
    with pytest.raises(LigflowError, match="'3/error' is of no row"):
        Answer.load(file)
