"""`ligflow models`."""

from command_line import Run
from ligflow.evaluation.tested_models import SPLIT, WHOLE


def test_models_lists_every_tested_model_type(run: Run) -> None:
    code, out, err = run("models")
    assert (code, err) == (0, "")
    listed = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert all(" all " in listed[name] and note in listed[name] for name, note in SPLIT.items())
    assert "embedded:minilm, embedded:smollm2, embedded:gemma-3-270m" in " ".join(out.split())
    assert all(" layer " in listed[name] and " all " not in listed[name] for name in WHOLE)
