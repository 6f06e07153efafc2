"""Files of similarities: both sides and pairs come back, and what is wrong with a damaged one is named."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hand_made_prediction import answer_of, prediction_of
from ligflow import LigflowError, Prediction, Similarity


def similarity_of(pairs: bool = True) -> Similarity:
    first, second = prediction_of(value=0.8), prediction_of(["a", "b", "c"], value=0.8, seed=1)
    matrices = torch.arange(36.0).reshape(2, 6, 3) if pairs else (None, None)
    return Similarity(0.8, first, second, "mean", matrices[0], 1.5 if pairs else None, matrices[1])


@pytest.mark.parametrize("pairs", [True, False])
def test_what_is_saved_comes_back(tmp_path: Path, pairs: bool) -> None:
    own = similarity_of(pairs)
    loaded = Similarity.load(own.save(tmp_path / "s.safetensors"))
    assert (loaded.value, loaded.pooling, loaded.pairs_change) == (0.8, "mean", own.pairs_change)
    for side in ("text", "other"):
        mine, theirs = getattr(own, side), getattr(loaded, side)
        assert isinstance(theirs, Prediction)
        assert theirs.tokens == mine.tokens
        assert torch.equal(theirs.by_depth, mine.by_depth)
        assert all(torch.equal(theirs.heads[layer], heads) for layer, heads in mine.heads.items())
    if pairs:
        assert torch.equal(loaded.pairs, own.pairs)
        assert torch.equal(loaded.pairs_error, own.pairs_error)
    else:
        assert loaded.pairs is None


@pytest.mark.parametrize(
    ("labels", "tensors", "said"),
    [
        ({"value": "much"}, {}, "value"),
        ({"format": 2}, {}, "format 2, and this version reads up to 1"),
        ({"text": {}}, {}, "text and other should be two predictions"),
        ({"other": {"format": 1}}, {}, "tokens: Field required"),
        ({"pairs_change": None}, {}, "belong together"),
        ({}, {"pairs": torch.zeros(3, 6)}, "'pairs' should be 6 by 3 finite numbers"),
        ({}, {"pairs_error": torch.full((6, 3), torch.nan)}, "'pairs_error' should be 6 by 3 finite"),
        ({}, {"third/error": torch.zeros(3)}, "'third/error' is none of a similarity's"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, labels: dict, tensors: dict, said: str) -> None:
    file = similarity_of().save(tmp_path / "s.safetensors")
    with safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["ligflow_similarity"]) | labels
        held = {name: opened.get_tensor(name) for name in opened.keys()} | tensors  # noqa: SIM118
    save_file(held, file, metadata={"ligflow_similarity": json.dumps(header)})
    with pytest.raises(LigflowError, match=said):
        Similarity.load(file)


def test_a_file_of_another_kind_says_what_reads_it(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match=r"Answer\.load"):
        Similarity.load(answer_of().save(tmp_path / "a.safetensors"))
    with pytest.raises(LigflowError, match=r"Similarity\.load"):
        Prediction.load(similarity_of().save(tmp_path / "s.safetensors"))
