import pytest
import torch

from ligflow.dictionaries.of_tensors import dictionary_of
from ligflow.errors import LigflowError

generator = torch.Generator().manual_seed(0)
TENSORS = {
    "W_enc": torch.randn(6, 9, generator=generator),
    "W_dec": torch.randn(9, 6, generator=generator),
    "b_enc": torch.randn(9, generator=generator),
    "b_dec": torch.randn(6, generator=generator),
}
VECTORS = torch.randn(4, 6, generator=generator)
PLACE = "blocks.1.hook_resid_post"


def test_a_mapping_of_tensors():
    code = dictionary_of(TENSORS, PLACE).encode(VECTORS)
    expected = ((VECTORS - TENSORS["b_dec"]) @ TENSORS["W_enc"] + TENSORS["b_enc"]).relu()
    assert torch.allclose(code.activations, expected)


def test_transposed_matrices_under_the_names_of_modules():
    other = {
        "encoder.weight": TENSORS["W_enc"].T, "encoder.bias": TENSORS["b_enc"],
        "decoder.weight": TENSORS["W_dec"].T, "bias": TENSORS["b_dec"],
    }  # fmt: skip
    ours, theirs = dictionary_of(TENSORS, PLACE), dictionary_of(other, PLACE)
    assert torch.equal(ours.decoder, theirs.decoder)
    assert torch.equal(ours.encode(VECTORS).activations, theirs.encode(VECTORS).activations)


def test_a_transcoder_is_not_centred():
    code = dictionary_of(TENSORS, "blocks.1.hook_mlp_out", "model.layers.1.mlp:input").encode(VECTORS)
    assert torch.allclose(code.activations, (VECTORS @ TENSORS["W_enc"] + TENSORS["b_enc"]).relu())


def test_top_k_and_thresholds():
    assert (dictionary_of(TENSORS, PLACE, k=2).encode(VECTORS).activations > 0).sum(-1).max() == 2
    threshold = torch.full((9,), 1.5)
    activations = dictionary_of({**TENSORS, "threshold": threshold}, PLACE).encode(VECTORS).activations
    assert float(activations[activations > 0].min()) > 1.5


@pytest.mark.parametrize(
    ("more", "options", "said"),
    [
        ({"W_enc": torch.ones(6, 8)}, {}, r"has shape \[9, 6\], not \(feature 8, output\)"),
        ({"b_dec": torch.ones(5)}, {}, r"b_dec has shape \[5\]"),
        ({"b_dec": torch.full((6,), torch.inf)}, {}, "b_dec holds NaN, infinite"),
        ({"b_gate": torch.ones(9)}, {}, "gated activations need all three"),
        ({}, {"k": 10}, "k is 10"),
        ({}, {"scaling": "rms"}, "Unknown scaling 'rms'"),
        ({"W_dec": torch.ones(9, 5), "b_dec": torch.ones(5)}, {"centred": True}, "another width"),
    ],
)
def test_tensors_that_do_not_fit(more, options, said):
    with pytest.raises(LigflowError, match=said):
        dictionary_of({**TENSORS, **more}, PLACE, **options)


def test_tensors_that_are_missing():
    with pytest.raises(LigflowError, match="has no W_enc and no W_dec"):
        dictionary_of({"weight": torch.ones(3, 3)}, PLACE)


def test_activations_that_are_not_finite():
    with pytest.raises(LigflowError, match="NaN or infinite activations"):
        dictionary_of(TENSORS, PLACE, scaling="norm").encode(torch.zeros(2, 6))
