"""`ligflow check`: its table and its exit code."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, MambaConfig, MambaModel

from command_line import Run, assert_refused
from ligflow.evaluation.conformance import Check


def test_a_good_model_passes_its_checks(run: Run, model: str) -> None:
    code, out, _ = run("check", model)
    assert code == 0
    assert out.count(" pass ") == 10
    assert "FAIL" not in out


def test_a_failed_check_is_exit_code_1(run: Run, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Check("one", True, "1e-7", "1e-4"), Check("two", False, "0.3", "1e-4", "worst: z2z, layer 3")]
    monkeypatch.setattr("ligflow.evaluation.conformance.check", lambda *_, **__: found)
    code, out, _ = run("check", model)
    (failed,) = [line for line in out.splitlines() if "FAIL" in line]
    assert code == 1
    assert failed.split() == ["two", "FAIL", "0.3", "1e-4", "worst:", "z2z,", "layer", "3"]


def test_what_was_not_compared_does_not_read_as_a_pass(run: Run, model: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 30522, "state_size": 4}
    MambaModel(MambaConfig(**sizes, bos_token_id=1, eos_token_id=2)).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(model).save_pretrained(tmp_path)
    code, out, _ = run("check", tmp_path)
    assert (code, out.count(" pass "), out.count(" none ")) == (0, 5, 5)
    assert "MambaBlock" in out
    assert "nothing of z2u and u2z" in " ".join(out.split())


def test_check_of_a_missing_model_is_one_line(run: Run) -> None:
    assert_refused(run("check", "nobody/nothing", "--local-files-only"), 1, "Could not load model")


@pytest.mark.slow
def test_the_embedded_model_passes_its_checks(run: Run) -> None:
    code, out, _ = run("check", "embedded:minilm")
    lines = out.splitlines()
    assert code == 0
    assert sum(" pass " in line for line in lines) == 10
    assert any("6 of 6" in line for line in lines)
