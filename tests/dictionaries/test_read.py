import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ligflow.dictionaries.dictionary import Dictionary
from ligflow.dictionaries.read import read_dictionary
from ligflow.errors import LigflowError

RECORDED = Path(__file__).parent / "recorded"
NUMBERS = load_file(RECORDED / "numbers.safetensors")
NAMES = sorted({name.rpartition("/")[0] for name in NUMBERS if "/" in name})


def given(dictionary: Dictionary, vectors: torch.Tensor) -> torch.Tensor:
    code = dictionary.encode(vectors)
    parts = code.activations @ dictionary.decoder + code.scale * dictionary.decoder_bias + code.shift
    return parts if code.skip is None else parts + code.skip


def test_recorded_dictionaries_are_of_every_kind():
    assert len(NAMES) == 19
    assert {name.partition("/")[0] for name in NAMES} >= {"gated", "jump", "top_k", "standard", "sparsify"}


@pytest.mark.parametrize("name", NAMES)
def test_encoders_and_decoders_give_what_the_libraries_give(name):
    dictionary, vectors = read_dictionary(RECORDED / name), NUMBERS["vectors"]
    code, own = dictionary.encode(vectors), NUMBERS[f"{name}/activations"]
    assert torch.allclose(code.activations, own * code.scale, atol=1e-5)
    assert 0 < int((own != 0).sum()) < own.numel()
    assert torch.allclose(given(dictionary, vectors), NUMBERS[f"{name}/given"], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "model", "hook", "source"),
    [
        ("standard", "gpt2-small", "blocks.1.hook_resid_post", "blocks.1.hook_resid_post"),
        ("version_5", "gpt2-small", "blocks.1.hook_resid_post", "blocks.1.hook_resid_post"),
        ("skip", "gpt2-small", "blocks.1.hook_mlp_out", "blocks.1.ln2.hook_normalized"),
        ("sparsify/layers.1", "HuggingFaceTB/SmolLM2-135M", "layers.1", "layers.1"),
        ("sparsify/layers.1.mlp", "HuggingFaceTB/SmolLM2-135M", "layers.1.mlp", "layers.1.mlp:input"),
    ],
)
def test_files_say_which_model_a_dictionary_is_for_and_where_it_stands(name, model, hook, source):
    dictionary = read_dictionary(RECORDED / name)
    assert (dictionary.model, dictionary.hook.name, dictionary.source.name) == (model, hook, source)
    assert dictionary.transcodes == (hook != source)


def test_a_place_that_is_given_goes_before_that_of_the_files():
    dictionary = read_dictionary(RECORDED / "standard", hook="transformer.h.2")
    assert dictionary.hook.name == dictionary.source.name == "transformer.h.2"


def test_a_file_of_tensors_needs_a_place(tmp_path):
    path = RECORDED / "jump" / "sae_weights.safetensors"
    with pytest.raises(LigflowError, match="say where they stand"):
        read_dictionary(path)
    with pytest.raises(LigflowError, match=r"centred=False \(Gemma Scope\) or centred=True"):
        read_dictionary(path, hook="blocks.1.hook_resid_post")
    dictionary = read_dictionary(path, hook="blocks.1.hook_resid_post", centred=True)
    activations = dictionary.encode(NUMBERS["vectors"]).activations
    assert torch.allclose(activations, NUMBERS["jump/activations"], atol=1e-5)


def changed(tmp_path: Path, name: str, **header: object) -> Path:
    """A copy of a recorded folder with other fields in its header."""
    folder = tmp_path / name
    shutil.copytree(RECORDED / name, folder)
    path = folder / "cfg.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | header))
    return folder


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"architecture": "temporal"}, "architecture 'temporal' are not read"),
        ({"architecture": "gated"}, "needs b_gate, r_mag, b_mag"),
        ({"d_in": 768}, "belong to different dictionaries"),
        ({"d_in": "12"}, "damaged: d_in"),
        ({"normalize_activations": "whitened"}, "normalised by 'whitened'"),
        ({"activation_fn": "tanh-relu"}, "its activation is 'tanh-relu'"),
        ({"metadata": {}}, "does not say where it stands"),
        ({"metadata": {"hook_name": "blocks.1.attn.hook_q"}}, "hook point 'blocks.1.attn.hook_q'"),
        ({"metadata": {"hook_name": "blocks.1.attn.hook_z", "hook_head_index": 3}}, "head 3 alone"),
    ],
)
def test_headers_that_are_not_read(tmp_path, header, said):
    with pytest.raises(LigflowError, match=said):
        read_dictionary(changed(tmp_path, "standard", **header))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"num_latents": 32}, "speaks of 32 features"),
        ({"k": 25}, "k is 25"),
        ({"skip_connection": True}, "disagree on a skip"),
        ({"activation": "max"}, "damaged: activation"),
    ],
)
def test_headers_of_sparsify_that_are_not_read(tmp_path, header, said):
    with pytest.raises(LigflowError, match=said):
        read_dictionary(changed(tmp_path, "sparsify/layers.1", **header))


def test_weights_that_are_not_finite(tmp_path):
    folder = changed(tmp_path, "standard")
    weights = load_file(folder / "sae_weights.safetensors")
    weights["W_dec"][3, 4] = torch.nan
    save_file(weights, folder / "sae_weights.safetensors")
    with pytest.raises(LigflowError, match="W_dec holds NaN"):
        read_dictionary(folder)


def test_a_scaling_factor_of_fine_tuning_is_refused(tmp_path):
    folder = changed(tmp_path, "standard")
    weights = load_file(folder / "sae_weights.safetensors")
    weights["scaling_factor"] = torch.ones(24)
    save_file(weights, folder / "sae_weights.safetensors")
    assert read_dictionary(folder).count == 24
    weights["scaling_factor"][0] = 2
    save_file(weights, folder / "sae_weights.safetensors")
    with pytest.raises(LigflowError, match="scaling factor"):
        read_dictionary(folder)


def test_what_is_no_dictionary(tmp_path):
    with pytest.raises(LigflowError, match="There is no dictionary"):
        read_dictionary(tmp_path / "nothing")
    with pytest.raises(LigflowError, match="holds no dictionary of a known format"):
        read_dictionary(tmp_path)
    with pytest.raises(LigflowError, match=r"several dictionaries: layers\.1, layers\.1\.mlp, layers\.2"):
        read_dictionary(RECORDED / "sparsify")
    pickled = tmp_path / "sae.pt"
    pickled.write_bytes(b"")
    with pytest.raises(LigflowError, match="may run code"):
        read_dictionary(pickled)
    folder = changed(tmp_path, "top_k")
    (folder / "sae_weights.safetensors").write_bytes(b"{}")
    with pytest.raises(LigflowError, match="no readable safetensors"):
        read_dictionary(folder)


def test_names_of_features_come_from_a_table(tmp_path):
    table = tmp_path / "names.csv"
    table.write_text("feature,name,url\n3,capitals,https://example.org/3\n")
    dictionary = read_dictionary(RECORDED / "standard", names=table)
    assert dictionary.names[3].name == "capitals"
    table.write_text("feature,name\n24,beyond\n")
    with pytest.raises(LigflowError, match=r"names feature 24, .* features 0 to 23"):
        read_dictionary(RECORDED / "standard", names=table)
