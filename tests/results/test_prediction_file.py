"""Files of predictions: equal bit for bit after a round trip, and a clear word on a bad one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from browser import flow_of
from hand_made_prediction import prediction_of
from ligflow import Flow, LigflowError, Prediction
from ligflow.results.prediction_file import BY_LAYER, WHOLE, holds_prediction

HOSTILE = ["<|x|>", "<script>", ' say "hi"', "👍🏽", " tab\tline\n", "\x1b[31m"]
Change = Callable[[dict[str, Any], dict[str, torch.Tensor]], None]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return whole().save(tmp_path / "why.safetensors")


def whole() -> Prediction:
    """A prediction with every part that a file may hold."""
    words = {"words": [0, 1, 1, 2, 3, 3], "word_labels": ["<|x|>", "a", "b", "c"], "parallel": [1]}
    plain = prediction_of(HOSTILE, edges=[1], unmet=True)
    meta = {**plain.meta, **words, "spans": {"turns": [["user", [1, 2]]]}, "reference_tokens": ["a"] * 6}
    several = {
        "cross_heads": {1: plain.heads[1] / 3},
        "routing": {2: plain.relevance / 7},
        "streams": (("encoder", 0, 2), ("decoder", 2, 6)),
        "unmet": True,
        "kept": (0, 3),
    }
    units = {
        "stored_neurons": {1: plain.mlps[1][:, None] / 2},
        "stored_activations": {1: torch.ones(2, 6, 1)},
    }
    meta["units"] = {"1": [["", 1]]}
    return prediction_of(HOSTILE, edges=[1], parts=[1], meta=meta, **several, **units)


def rewrite(path: Path, change: Change) -> None:
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["ligflow_prediction"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(header, tensors)
    save_file(tensors, path, metadata={"ligflow_prediction": json.dumps(header)})


def assert_equal(again: Prediction, before: Prediction) -> None:
    """Every tensor bit for bit, and every label."""
    for name in WHOLE:
        assert getattr(again, name).equal(getattr(before, name)), name
    for name in BY_LAYER:
        ours, theirs = getattr(before, name), getattr(again, name)
        assert ours, name
        assert [*ours] == [*theirs]
        assert all(
            theirs[layer].equal(part) and theirs[layer].dtype == part.dtype for layer, part in ours.items()
        )
    plain = ("tokens", "special", "kept", "value", "reference_value", "cuts", "certificates", "top")
    for name in (*plain, "reference_top", "layer_names", "streams", "meta"):
        assert getattr(again, name) == getattr(before, name), name
    assert again.by("turns") == before.by("turns")


def test_a_round_trip_is_equal_bit_for_bit(saved: Path) -> None:
    assert_equal(Prediction.load(saved), whole())
    assert list(saved.parent.iterdir()) == [saved]


def test_a_file_of_format_1_has_the_numbers_that_its_version_wrote() -> None:
    """Version 0.1.0 wrote the sample of what `whole` was then."""
    assert_equal(Prediction.load(Path(__file__).with_name("prediction_of_format_1.safetensors")), whole())


def test_what_cannot_be_written_leaves_the_file_that_was_there(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_tensors: Any, path: str, _header: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("no space left")

    before = saved.read_bytes()
    monkeypatch.setattr("ligflow.results.prediction_file.save_file", broken)
    with pytest.raises(LigflowError, match=r"Could not write .* no space left"):
        whole().save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_flow_and_a_prediction_are_not_taken_for_each_other(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match=r"holds a prediction, not a flow: Prediction\.load reads it"):
        Flow.load(saved)
    flow = flow_of(["a", "b"]).save(tmp_path / "flow.safetensors")
    with pytest.raises(LigflowError, match=r"holds a flow, not a prediction: Flow\.load reads it"):
        Prediction.load(flow)


def test_a_file_says_whether_it_holds_a_prediction(saved: Path, tmp_path: Path) -> None:
    assert holds_prediction(saved)
    assert not holds_prediction(flow_of(["a", "b"]).save(tmp_path / "flow.safetensors"))
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    page = tmp_path / "page.html"
    page.write_text("<title>no tensors</title>")
    for other in (tmp_path / "foreign.safetensors", page, tmp_path / "none.safetensors", tmp_path):
        assert not holds_prediction(other)


def test_missing_truncated_and_foreign_files_are_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="no file of a prediction"):
        Prediction.load(tmp_path / "none.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(1)}, foreign)
    with pytest.raises(LigflowError, match="holds no prediction"):
        Prediction.load(foreign)
    saved.write_bytes(saved.read_bytes()[:-9])
    with pytest.raises(LigflowError, match="truncated or foreign"):
        Prediction.load(saved)


BAD: dict[str, tuple[Change, str]] = {
    "newer": (lambda header, _: header.update(format=2), "format 2, and this version reads up to 1; upgrade"),
    "tokens": (lambda header, _: header.update(tokens=[1]), r"tokens\.0: Input should be a valid string"),
    "kept": (lambda header, _: header.update(kept=[True]), "kept should be as many as tokens"),
    "value": (lambda header, _: header.update(value="high"), "value: Input should be a valid number"),
    "top": (lambda header, _: header.update(top=[["a", 2.0]]), r"top\.0\.1: Input should be less than"),
    "certificate": (
        lambda header, _: header["certificates"][0].update(met="yes"),
        r"certificates\.0\.met: Input should be a valid boolean",
    ),
    "streams": (lambda header, _: header.update(streams=[["all", 0, 7]]), "streams should begin and end"),
    "words": (lambda header, _: header["meta"].update(words=[9] * 6), "meta: words should number"),
    "spans": (
        lambda header, _: header["meta"].update(spans={"turns": [["user", [6]]]}),
        r"meta\.spans\.turns should hold positions",
    ),
    "field": (lambda header, _: header.pop("cuts"), "cuts: Field required"),
    "lost": (lambda _, tensors: tensors.pop("error"), "it holds no error"),
    "size": (
        lambda _, tensors: tensors.update({"mlps.0": torch.zeros(5)}),
        r"'mlps.0' should have shape \(6\)",
    ),
    "edges": (
        lambda _, tensors: tensors.update({"stored_edges.0": torch.zeros(2, 6, 5)}),
        r"'stored_edges.0' should have shape \(heads, 6, 6\)",
    ),
    "lost layer": (
        lambda header, _: header.update(layer_names=["model.layers.0"]),
        r"'[a-z_]+\.[12]' is of a layer that",
    ),
    "lost cut": (lambda header, _: header.update(cuts=["a", "b", "c", "d", "e"]), "is of a layer that"),
    "other heads": (
        lambda _, tensors: tensors.update({"stored_edges.0": torch.zeros(3, 6, 6)}),
        r"'stored_edges\.0' is of other heads",
    ),
    "twice": (lambda _, tensors: tensors.update({"mlps.00": torch.zeros(6)}), r"'mlps\.00' is none of"),
    "parts": (
        lambda _, tensors: tensors.update({"parts.1": torch.zeros(2, 2, 6, 6)}),
        r"'parts.1' should have shape \(3, heads, 6, 6\)",
    ),
    "unknown": (lambda _, tensors: tensors.update({"mlps.x": torch.zeros(6)}), "'mlps.x' is none of"),
    "whole": (lambda _, tensors: tensors.update(error=torch.zeros(6).int()), "'error' should be float32"),
    "nan": (lambda _, tensors: tensors["by_depth"].fill_(torch.nan), "'by_depth' holds NaN"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_file_is_refused_by_what_is_wrong(name: str, saved: Path) -> None:
    change, said = BAD[name]
    rewrite(saved, change)
    with pytest.raises(LigflowError, match=said):
        Prediction.load(saved)


def test_what_later_versions_add_to_the_header_is_no_damage(saved: Path) -> None:
    def add(header: dict[str, Any], _: dict[str, torch.Tensor]) -> None:
        header["later"] = 1
        header["certificates"][0]["later"] = 2

    rewrite(saved, add)
    assert Prediction.load(saved).certificates == whole().certificates
