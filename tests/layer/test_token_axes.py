"""Hidden states as layers lay them out, and as rows of tokens."""

import pytest
import torch

from architectures import _GROUPED, Architecture, build, example
from ligflow import Explainer, LigflowError
from ligflow.layer.model_state import prepared
from ligflow.layer.token_axes import USUAL, Layout, layout_of
from ligflow.method.baselines import Itb
from ligflow.method.quadrature import Fixed
from ligflow.method.scalarization import L2
from ligflow.paths.batch import alone
from ligflow.routes import autograd
from ligflow.routes.integration import attribute
from ligflow.routes.players import players_of
from ligflow.routes.u2z import u2z_map
from ligflow.routes.workspace import Selection, Workspace
from ligflow.routes.z2u import z2u_map
from ligflow.routes.z2z import z2z_map
from ligflow.settings import ask

CASES = {
    "usual": ((1, 5, 8), (5,), USUAL),
    "unseen attention": ((5, 1, 8), (), Layout((5, 1, 8), 1, (0,))),
    "tokens first": ((5, 1, 8), (5,), Layout((5, 1, 8), 1, (0,))),
    "no examples": ((5, 8), (5,), Layout((5, 8), None, (0,))),
    "streams": ((1, 5, 4, 8), (5,), Layout((1, 5, 4, 8), 0, (1,))),
    "streams first": ((4, 1, 5, 8), (5,), Layout((4, 1, 5, 8), 1, (2,))),
    "rows of patches": ((1, 2, 3, 8), (6,), Layout((1, 2, 3, 8), 0, (1, 2))),
    "numbers before tokens": ((1, 8, 5), (5,), Layout((1, 8, 5), 0, (2,))),
    "one token": ((1, 1, 8), (1,), USUAL),
}
UNKNOWN = {
    "examples of one token": ((5, 1, 8), (1,)),
    "several examples": ((2, 5, 8), (5,)),
    "other tokens attend": ((1, 2, 3, 8), (4,)),
    "attention of four axes unseen": ((1, 2, 3, 8), ()),
    "no attention of two axes": ((5, 8), ()),
    "five axes": ((1, 1, 5, 2, 8), (5,)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_layout_is_known_from_the_shape_and_what_attends(case: str) -> None:
    shape, attended, layout = CASES[case]
    assert layout_of(shape, attended) == layout


@pytest.mark.parametrize("case", UNKNOWN)
def test_no_layout_where_none_gives_one_example(case: str) -> None:
    assert layout_of(*UNKNOWN[case]) is None


@pytest.mark.parametrize("case", CASES)
def test_rows_and_back(case: str) -> None:
    shape, _, layout = CASES[case]
    own = torch.arange(float(torch.tensor(shape).prod())).reshape(shape)
    rows = layout.rows(own)
    assert (rows.ndim, len(rows)) == (3, 1)
    assert torch.equal(layout.own(rows), own)


def test_a_tokens_numbers_are_its_streams() -> None:
    own = torch.randn(4, 1, 5, 8)
    rows = CASES["streams first"][2].rows(own)
    assert torch.equal(rows[0, 3], own[:, 0, 3].flatten())
    pair = CASES["streams first"][2].own(torch.cat([rows, -rows]))
    assert pair.shape == (4, 2, 5, 8)
    assert torch.equal(pair[:, 1], -own[:, 0])


XLNET = Architecture(
    "XLNetModel", {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48, "vocab_size": 64}
)
GEMMA3N = Architecture(
    "Gemma3nTextModel",
    _GROUPED | {
        "intermediate_size": [48, 48], "vocab_size_per_layer_input": 64, "hidden_size_per_layer_input": 8,
        "num_kv_shared_layers": 0, "laurel_rank": 4, "layer_types": ["sliding_attention", "full_attention"],
        "activation_sparsity_pattern": [0.0, 0.0], "sliding_window": 4,
    },
)  # fmt: skip


def test_tokens_may_stand_before_examples() -> None:
    explainer = Explainer(build(XLNET))
    inputs = {"input_ids": torch.tensor([[5, 6, 7, 8]])}
    for layer in explainer.prepared.record(inputs):
        assert (layer.hidden.shape, layer.layout.tokens) == ((4, 32), (0,))
        assert layer.mode != "whole"
        assert layer.findings.reason == "its mask or position bias depends on the hidden states"
    flow = explainer.explain(inputs)
    assert not flow.unmet
    assert flow.routes == ("z2u", "u2z", "z2z")
    moved = flow.z2z[:, 0, 1:].abs().sum()
    assert moved > 0.01
    with pytest.raises(LigflowError, match="these inputs hold 2"):
        explainer.explain({"input_ids": torch.ones(2, 4, dtype=torch.long)})


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("tokens", [1, 2, 6])
def test_tokens_of_several_streams_are_explained_as_autograd_does(tokens: int) -> None:
    """Gemma3n keeps four streams a token."""
    explainer = Explainer(build(GEMMA3N, torch.float64))
    everyone = torch.arange(tokens)
    for layer in explainer.prepared.record(example(GEMMA3N, tokens)):
        assert (layer.findings.reason, layer.hidden.shape, layer.findings.one_by_one) == (
            "",
            (tokens, 128),
            False,
        )
        place = Selection(everyone, everyone)
        with prepared(layer.module):
            work = Workspace(alone(layer), (place,))
            start = Itb().start(layer.hidden, everyone)
            players = players_of(work, ask(att_baseline="itb", mlp_baseline="matched"))
            pairs = {
                "z2u": (z2u_map(work.path(Itb())), autograd.z2u(layer, start)),
                "u2z": (u2z_map(work.batch, players), autograd.u2z(layer, players)),
                "z2z": (z2z_map(work.path(Itb())), autograd.z2z(layer, start)),
            }
            for route, both in pairs.items():
                ours, theirs = (attribute(one, everyone, L2(), Fixed("gauss-legendre:3")) for one in both)
                gap = (ours.value - theirs.value).abs().amax(-1) / theirs.scale
                assert gap.max() < 1e-9, route
