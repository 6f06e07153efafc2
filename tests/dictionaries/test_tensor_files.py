from pathlib import Path

import numpy
import pytest
import torch
from safetensors.torch import load_file

from ligflow.dictionaries.read import read_dictionary
from ligflow.dictionaries.tensor_files import read_tensors
from ligflow.errors import LigflowError

RECORDED = Path(__file__).parent / "recorded"
HOOK = "blocks.1.hook_resid_post"


def saved(folder: Path, without: str = "") -> Path:
    """A recorded JumpReLU dictionary as an archive of arrays."""
    tensors = load_file(RECORDED / "jump" / "sae_weights.safetensors")
    path = folder / "params.npz"
    numpy.savez(path, allow_pickle=False, **{n: each.numpy() for n, each in tensors.items() if n != without})
    return path


def test_an_archive_of_arrays_gives_what_the_library_gives(tmp_path: Path) -> None:
    numbers = load_file(RECORDED / "numbers.safetensors")
    dictionary = read_dictionary(saved(tmp_path), hook=HOOK, centred=True)
    activations = dictionary.encode(numbers["vectors"]).activations
    assert int((activations != 0).sum()) > 0
    assert torch.allclose(activations, numbers["jump/activations"], atol=1e-5)


def test_a_bias_that_is_not_taken_off_before_the_encoder(tmp_path: Path) -> None:
    vectors = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    tensors = load_file(RECORDED / "jump" / "sae_weights.safetensors")
    before = vectors @ tensors["W_enc"] + tensors["b_enc"]
    dictionary = read_dictionary(saved(tmp_path), hook=HOOK, centred=False)
    expected = torch.where(before > tensors["threshold"], before.relu(), 0)
    assert torch.allclose(dictionary.encode(vectors).activations, expected, atol=1e-6)
    centred = read_dictionary(saved(tmp_path), hook=HOOK, centred=True)
    assert not torch.allclose(centred.encode(vectors).activations, expected, atol=1e-3)


def test_names_that_are_missing_and_a_place_that_is_not_said(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match=r"params has no W_dec; .*W_dec \[feature, output\]"):
        read_dictionary(saved(tmp_path, without="W_dec"), hook=HOOK, centred=True)
    with pytest.raises(LigflowError, match="say where they stand"):
        read_dictionary(saved(tmp_path))
    with pytest.raises(LigflowError, match="leave centred out"):
        read_dictionary(RECORDED / "jump", centred=False)


def test_numbers_of_other_kinds_and_orders_of_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    turned = numpy.asfortranarray(numpy.arange(6, dtype=">f4").reshape(2, 3))
    numpy.savez(path, half=numpy.ones(3, numpy.float16), turned=turned, whole=numpy.arange(3))
    tensors = read_tensors(path)
    assert tensors["half"].dtype == torch.float32
    assert torch.equal(tensors["turned"], torch.arange(6.0).reshape(2, 3))
    assert tensors["whole"].dtype == torch.int64


def test_archives_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    numpy.savez(path, a=numpy.array([{}, 1], dtype=object))
    with pytest.raises(LigflowError, match="Object arrays cannot be loaded"):
        read_tensors(path)
    numpy.savez(path, a=numpy.array(["text"]))
    with pytest.raises(LigflowError, match="a holds <U4, not numbers"):
        read_tensors(path)
    path.write_bytes(b"no archive")
    with pytest.raises(LigflowError, match=r"is no \.npz file"):
        read_tensors(path)
    numpy.savez_compressed(path, a=numpy.random.default_rng(0).random((30, 30)))
    damaged = bytearray(path.read_bytes())
    for place in range(500, 520):
        damaged[place] ^= 255
    path.write_bytes(bytes(damaged))
    with pytest.raises(LigflowError, match=r"no readable \.npz file"):
        read_tensors(path)
