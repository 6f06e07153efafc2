"""The oracle itself: its sums close, its rule is exact, and an answer known by hand is what it gives."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from prediction.oracle import SCORE, OracleResult, Place, Program, Segment, Variable, forward, oracle
from prediction.oracle_families import FAMILIES


def largest_gap(first: OracleResult, second: OracleResult) -> float:
    """Over everything that the two say, in parts of the scale."""
    rows = [(first.by_depth, second.by_depth)]
    for kind in ("heads", "cross_heads", "mlps", "past_attention", "past_cross_attention", "past_mlp"):
        own, other = getattr(first, kind), getattr(second, kind)
        rows += [(own[layer], other[layer]) for layer in own]
    return max(float((a - b).abs().max()) for a, b in rows) / first.scale


@pytest.mark.parametrize("name", FAMILIES)
def test_every_sum_is_the_change_and_more_points_say_the_same(name: str) -> None:
    family = FAMILIES[name]
    model = family.built()
    result = family.explained(model)
    assert abs(result.change) > 1e-3
    assert max(abs(total - result.change) for total in result.sums) < 1e-9 * result.scale
    assert (result.by_depth.sum(1) - result.change).abs().max() < 1e-9 * result.scale
    assert largest_gap(result, family.explained(model, 24)) < 1e-7


@pytest.mark.parametrize("name", [name for name in FAMILIES if " " not in name])
def test_what_is_written_and_what_passes_by_sum_to_what_they_make(name: str) -> None:
    family = FAMILIES[name]
    model = family.built()
    program, result = family.cuts(model), family.explained(model, 24)
    total = {name: float((m * result.changes[name]).sum()) for name, m in result.directions.items() if m.ndim}
    for segment in program.segments:
        if segment.skip:
            kind, layer, source = segment.skip
            own = float(getattr(result, kind.replace(" ", "_"))[layer].sum())
            written = sum(total[name] for name in segment.sources if name != source)
            assert own + written == pytest.approx(total[segment.targets[0]], abs=1e-6)


def test_cuts_differ_where_the_model_is_not_affine() -> None:
    by_cut = [
        FAMILIES[name].explained(FAMILIES[name].built()) for name in FAMILIES if name.startswith("gpt2")
    ]
    modules, layers, undivided = by_cut
    assert modules.change == layers.change == undivided.change
    assert (modules.relevance - layers.relevance).abs().max() > 0.01 * modules.scale
    assert (layers.relevance - undivided.relevance).abs().max() > 0.01 * modules.scale


def test_a_moving_argument_that_is_missed_breaks_the_sums() -> None:
    family = FAMILIES["gemma3n by layer"]
    model = family.built()
    whole = family.cuts(model)
    shared = {name for name in whole.variables if " of " in name}
    segments = tuple(
        replace(s, sources=tuple(n for n in s.sources if n not in shared)) for s in whole.segments
    )
    result = oracle(
        replace(whole, segments=segments), model, family.inputs(), family.references(model), family.score()
    )
    assert len(shared) == 4
    assert max(abs(total - result.change) for total in result.sums) > 1e-3 * result.scale


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss", "deepseek_v3"])
def test_experts_are_held_where_the_runs_choose_others(name: str) -> None:
    family = FAMILIES[name]
    model = family.built()
    result = family.explained(model, 24)
    entry = {family.cuts(model).variables["embeddings"].entry: family.references(model)[0][None]}
    routed, _ = forward(model, family.inputs(), family.score(), entry, [])
    assert abs(float(routed) - result.reference_value) > 1e-3


class Toy(nn.Module):
    """`z -> u -> x = z + O u -> a = x² -> z' = x + a -> s = Σ c z'`: two heads that read all tokens alike."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.embed, self.layer, self.project = nn.Identity(), nn.Identity(), nn.Identity()
        self.middle, self.mlp, self.top = nn.Identity(), nn.Identity(), nn.Identity()
        self.weights = weights

    def forward(self, states: Tensor) -> Tensor:
        z = self.layer(self.embed(states))
        u = self.project(z.mean(1, keepdim=True).expand_as(z))
        x = self.middle(z + u @ self.weights)
        return self.top(x + self.mlp(x * x))


TOY = Program(
    {
        "embeddings": Variable("embeddings", Place("embed")),
        "z": Variable("z", Place("layer")),
        "u": Variable("u", Place("project"), node=("heads", 0)),
        "x": Variable("x", Place("middle")),
        "a": Variable("a", Place("mlp"), node=("mlps", 0)),
        "top": Variable("top", Place("top")),
    },
    (
        Segment(("embeddings",), ("z",), cut="embeddings"),
        Segment(("z",), ("u",), cut="layer 0"),
        Segment(("u", "z"), ("x",), skip=("past attention", 0, "z")),
        Segment(("x",), ("a",)),
        Segment(("a", "x"), ("top",), skip=("past mlp", 0, "x")),
        Segment(("top",), (SCORE,), cut="head"),
    ),
    heads=2,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_a_layer_known_by_hand() -> None:
    weights, c, states, start = drawn(4, 4), drawn(5, 4, seed=1), drawn(1, 5, 4, seed=2), drawn(5, 4, seed=3)
    result = oracle(TOY, Toy(weights), {"states": states}, start, lambda top: (top * c).sum((1, 2)), points=4)
    change, mixed = states[0] - start, (states[0] - start).mean(0).expand(5, 4)
    x, first = states[0] + states[0].mean(0) @ weights, start + start.mean(0) @ weights
    m_x = c * (1 + x + first)
    m_u = m_x @ weights.T
    assert torch.allclose(result.heads[0], (m_u * mixed).unflatten(1, (2, 2)).sum(2).T)
    assert torch.allclose(result.mlps[0], (c * (x * x - first * first)).sum(1))
    assert torch.allclose(result.past_mlp[0], (c * (x - first)).sum(1))
    assert torch.allclose(result.past_attention[0], (m_x * change).sum(1))
    assert torch.allclose(result.relevance, ((m_x + m_u.mean(0)) * change).sum(1))


class Chain(nn.Module):
    """Two functions of all tokens, one after the other, with a name for what is between."""

    def __init__(self, first: object, second: object) -> None:
        super().__init__()
        self.embed, self.between = nn.Identity(), nn.Identity()
        self.first, self.second = first, second

    def forward(self, states: Tensor) -> Tensor:
        return self.second(self.between(self.first(self.embed(states))))  # type: ignore[operator]


TWO = Program(
    {"embeddings": Variable("embeddings", Place("embed")), "h": Variable("h", Place("between"))},
    (Segment(("embeddings",), ("h",), cut="embeddings"), Segment(("h",), (SCORE,), cut="h")),
)
ONE = Program(
    {"embeddings": TWO.variables["embeddings"]}, (Segment(("embeddings",), (SCORE,), "embeddings"),)
)


def explained(program: Program, first: object, second: object) -> OracleResult:
    model, states, start = Chain(first, second), drawn(1, 5, 4), drawn(5, 4, seed=1)
    return oracle(program, model, {"states": states}, start, lambda score: score, points=8)


def test_affine_layers_give_their_product() -> None:
    first, second, c = drawn(4, 4), drawn(4, 4, seed=7), drawn(5, 4, seed=8)
    mixing = drawn(5, 5, seed=9)
    result = explained(TWO, lambda z: mixing @ z @ first + 1, lambda h: ((h @ second - 2) * c).sum((1, 2)))
    direction = mixing.T @ (c @ second.T) @ first.T
    change = drawn(5, 4) - drawn(5, 4, seed=1)
    assert torch.allclose(result.relevance, (direction * change).sum(1))


def test_an_additive_score_gives_each_token_its_own_part() -> None:
    result = explained(TWO, torch.exp, lambda h: (h**3).sum((1, 2)))
    states, start = drawn(5, 4), drawn(5, 4, seed=1)
    assert torch.allclose(result.relevance, ((3 * states).exp() - (3 * start).exp()).sum(1), atol=1e-4)


def test_squares_of_a_sum_of_squares() -> None:
    """`s = (Σ z²)²`: the chain gives `(z² - z°²)(S + S°)`, integrated gradients another answer."""
    square, of_sum = (lambda z: z * z), (lambda h: h.sum((1, 2)) ** 2)
    states, start = drawn(5, 4), drawn(5, 4, seed=1)
    chained = (states**2 - start**2).sum(1) * ((states**2).sum() + (start**2).sum())
    nodes = (torch.arange(2000, dtype=torch.float64) + 0.5)[:, None, None] / 2000
    path = start + nodes * (states - start)
    undivided = (4 * (path**2).sum((1, 2), keepdim=True) * path * (states - start)).mean(0).sum(1)
    assert torch.allclose(explained(TWO, square, of_sum).relevance, chained)
    assert torch.allclose(explained(ONE, square, of_sum).relevance, undivided, rtol=1e-4)
    assert (chained - undivided).abs().max() > 1
