"""What tells a model from the same model after a change."""

from typing import Any

import torch
from transformers import GPT2Config, GPT2Model

from ligflow.explainer.fingerprint import Structure, checksum


def gpt2() -> Any:
    torch.manual_seed(0)
    return GPT2Model(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=40, n_positions=16)).eval()


def test_numbers_that_change_places_show_in_a_checksum() -> None:
    for shape in ((12, 16), (16,), (3, 4, 16)):
        for kind in (torch.float32, torch.bfloat16, torch.int8):
            weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(50).to(kind)
            for other in (weight.roll(8, -1), weight.roll(4, -1), weight.flip(-1), weight.roll(1, 0)):
                assert checksum([other]) != checksum([weight])


def test_every_single_change_of_a_number_shows_in_its_checksum() -> None:
    for kind in (torch.float32, torch.float64, torch.bfloat16, torch.float8_e4m3fn, torch.int8, torch.bool):
        weight = torch.arange(21).reshape(3, 7).to(kind)
        before = checksum([weight])
        for row in range(3):
            for column in range(7):
                changed = weight.clone()
                changed[row, column] = changed[(row + 1) % 3, (column + 1) % 7]
                assert torch.equal(changed.float(), weight.float()) == (checksum([changed]) == before)
        assert checksum([weight.flip(0)]) != before or kind is torch.bool
    assert checksum([torch.empty(0), torch.tensor(1.0)]) == checksum([torch.empty(0), torch.tensor(1.0)])


def test_a_structure_sees_modules_settings_hooks_and_storages() -> None:
    model = gpt2()
    before = Structure(model)
    assert Structure(model) == before
    model.eval()
    assert Structure(model) == before
    handle = model.h[1].register_forward_hook(lambda *_: None)
    assert Structure(model) != before
    handle.remove()
    model.config.scale_attn_weights = False
    assert Structure(model) != before
    model.config.scale_attn_weights = True
    assert Structure(model) == before
    weight = model.h[0].mlp.c_fc.weight
    weight.data = weight.data.clone()
    assert Structure(model) != before
