"""Saved predictions in a folder: which are taken, and what is said where there is none."""

from pathlib import Path

import pytest

from hand_made_prediction import prediction_of
from ligflow.errors import LigflowError
from ligflow.results.prediction_folder import predictions_of, text_and_answer


def test_those_that_keep_something_are_taken_by_name(tmp_path: Path) -> None:
    for name, change in (("b", 8.0), ("a", 4.0), ("c", 2.0)):
        prediction_of(change=change).save(tmp_path / f"{name}.safetensors")
    (tmp_path / "d.safetensors").write_bytes(b"of something else")
    kept = predictions_of(tmp_path, lambda p: p.change > 3, "large changes", "larger ones")
    assert [(name, round(p.change, 9)) for name, p in kept] == [
        ("a.safetensors", 4.0),
        ("b.safetensors", 8.0),
    ]
    assert text_and_answer(kept[0][1]) == ("The capital of France is", " Paris")
    with pytest.raises(LigflowError, match="holds 3 predictions, none with large changes: save larger ones"):
        predictions_of(tmp_path, lambda p: p.change > 9, "large changes", "larger ones")
