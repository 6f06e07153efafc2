"""Decoders with a second attention, their inputs, and each route of theirs as engine and oracle."""

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from architectures import ARCHITECTURES, Architecture, build
from ligflow import Explainer
from ligflow.layer.layer import Layer
from ligflow.method import from_names
from ligflow.paths.batch import alone
from ligflow.paths.cross_attention import CrossPath
from ligflow.routes import autograd
from ligflow.routes.e2u import e2u_map
from ligflow.routes.path_map import PathMap
from ligflow.routes.players import players_of
from ligflow.routes.u2z import u2z_map
from ligflow.routes.workspace import Selection, Workspace
from ligflow.routes.z2z import z2z_map
from ligflow.settings import ask

_BART = ARCHITECTURES["bart"].config | {"decoder_layers": 2}


DECODERS = {
    "t5": ARCHITECTURES["t5"],
    "bart": Architecture("BartModel", _BART),
    "mvp": Architecture("MvpModel", _BART),  # off the interface, with a mask for each example
    "fsmt": Architecture(  # tokens before examples
        "FSMTModel",
        {"langs": ["en", "de"], "src_vocab_size": 64, "tgt_vocab_size": 64}
        | {name: value for name, value in _BART.items() if name != "vocab_size"},
    ),
    "marian": Architecture("MarianModel", _BART | {"pad_token_id": 0, "decoder_start_token_id": 0}),
    "pegasus": Architecture("PegasusModel", _BART),
    "whisper": ARCHITECTURES["whisper"],
}


CASES = [
    (name, tokens, padding) for name in DECODERS for tokens in (1, 2, 6) for padding in (0, 2)
    if (name != "whisper" or not padding) and (name != "fsmt" or tokens > 1)  # of one, its axes do not tell
]  # fmt: skip


def inputs_of(name: str, tokens: int, padding: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """A decoder's input of `tokens` tokens beside an encoder's of 7, some of them padding."""
    generator = torch.Generator().manual_seed(tokens)
    decoder = {"decoder_input_ids": torch.randint(3, 60, (1, tokens), generator=generator)}
    if name == "whisper":
        return decoder | {"input_features": torch.randn(1, 8, 18, generator=generator).to(dtype)}
    mask = torch.ones(1, 7, dtype=torch.long)
    mask[:, 7 - padding :] = 0
    ids = torch.randint(3, 60, (1, 7), generator=generator)
    return decoder | {"input_ids": ids, "attention_mask": mask}


@functools.cache
def explainer_of(name: str, dtype: torch.dtype = torch.float32) -> Explainer:
    """One for the tests of a process that change neither it nor its model."""
    return Explainer(build(DECODERS[name], dtype), stack="decoder")


def pairs(
    layer: Layer, baseline: str, encoder: str, padding: int
) -> Iterator[tuple[str, PathMap, PathMap, Selection]]:
    """Each route as engine and oracle, with the tokens that are not padding."""
    everyone = torch.arange(len(layer.hidden))
    place = Selection(everyone, everyone, torch.arange(len(layer.encoded) - padding))
    work = Workspace(alone(layer), (place,))
    own, others = from_names.layer_baseline(baseline), from_names.encoder_baseline(encoder)
    start, memory = own.start(layer.hidden, everyone), others.start(layer.encoded, place.memory).vectors
    cross = work.cross(others)
    assert isinstance(cross, CrossPath)
    yield "z2z", z2z_map(work.path(own), cross), autograd.z2z(layer, start, memory), place
    yield "e2u", e2u_map(cross), autograd.e2u(layer, memory), place
    players = players_of(work, ask(att_baseline=baseline, mlp_baseline="matched", encoder_baseline=encoder))
    yield "u2z", u2z_map(work.batch, players), autograd.u2z(layer, players), place
