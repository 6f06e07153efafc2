"""Edges by value, key and query beside their oracle: the model's own attention function, by hand."""

from dataclasses import replace

import pytest
import torch

from ligflow.prediction.chain import Accuracy
from ligflow.prediction.kept_edges import kept_edges
from prediction.chain_of_family import chained
from prediction.oracle_families import FAMILIES, encoder_starts
from prediction.oracle_parts import parts_by_hand

EXPERTS = ("mixtral", "gpt_oss", "deepseek_v3")  # held
NAMES = (
    "gpt2", "llama", "qwen3", "gemma2", "gemma3", "olmo2", "gpt_neox", "gpt_oss", "deepseek_v3", "bert",
    "modernbert", "albert", "t5", "bart", "vit", "gemma3n", "gemma4",
)  # fmt: skip


@pytest.mark.usefixtures("no_shape_checks")  # test_chain_against_oracle has these families with them
@pytest.mark.parametrize("name", NAMES)
def test_every_part_is_the_oracles_and_parts_sum_to_the_heads(name: str) -> None:
    family = FAMILIES[name]
    family = replace(family, starts=encoder_starts) if name in ("t5", "bart") else family
    model, held = family.built(), {"experts": True} if name in EXPERTS else {}
    oracle, program = family.explained(model, 32), family.cuts(model)
    chain = chained(family, model, Accuracy(points=31), **held)
    layers = tuple(chain.nodes.heads)
    kept = kept_edges(chain.built, chain.result, 0, layers, chain.held, parts=True, points=31)
    assert tuple(kept.parts) == layers
    for image, variable in program.variables.items():
        if not variable.node or "heads" not in variable.node[0]:
            continue
        kind, layer = variable.node
        wanted = parts_by_hand(program, model, family.inputs(), family.score(), oracle, image)
        begin = len(family.inputs()["input_ids"][0]) if variable.stream == "decoder" else 0
        first = 0 if kind == "heads" else len(chain.nodes.heads[layer])
        own = kept.parts[layer][:, first : first + wanted.shape[1]]
        own = own[:, :, begin:, begin if kind == "heads" else 0 :][..., : wanted.shape[2], : wanted.shape[3]]
        assert (own - wanted).abs().max() < 1e-6 * oracle.scale
        if begin == 0 or layer == layers[-1]:  # a decoder's own tokens are kept, and move from there
            assert float(wanted.abs().amax((1, 2, 3)).min()) > 1e-3 * oracle.scale
    for layer in layers:
        every = [part[layer] for part in (chain.nodes.heads, chain.nodes.cross_heads) if layer in part]
        sums = kept.parts[layer].sum((0, 3))
        assert (sums - torch.cat(every)).abs().max() < 1e-9 * oracle.scale
        assert (kept.edges[layer].sum(-1) - torch.cat(every)).abs().max() < 1e-9 * oracle.scale
