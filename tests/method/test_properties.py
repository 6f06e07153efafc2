"""Invariants of the mathematics, for whatever numbers hypothesis draws (the same ones in every run)."""

import itertools
import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ligflow.inputs.words import Words, words_of
from ligflow.method.composition import Conserving, HeadMaps, compose
from ligflow.method.quadrature_rules import fixed_rule, patterson_nodes, patterson_weights
from ligflow.method.ratio_corrections import with_self_share
from ligflow.results.strongest_paths import strongest

drawn = settings(max_examples=40, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 10**6)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@drawn
@given(points=st.integers(1, 24), power=st.integers(0, 47))
def test_gauss_legendre_is_exact_to_its_degree(points: int, power: int) -> None:
    rule = fixed_rule(f"gauss-legendre:{points}")
    error = abs(float((rule.weights * rule.nodes**power).sum()) - 1 / (power + 1))
    if power <= 2 * points - 1:
        assert error < 1e-13
    elif power == 2 * points:  # the first power that it misses, by a known amount
        missed = math.factorial(points) ** 4 / ((2 * points + 1) * math.factorial(2 * points) ** 2)
        assert math.isclose(error, missed, rel_tol=1e-3, abs_tol=1e-14)


@drawn
@given(level=st.integers(1, 4), power=st.integers(0, 46))
def test_patterson_is_exact_to_its_degree(level: int, power: int) -> None:
    nodes, weights = patterson_nodes(level), patterson_weights(level)
    count = len(nodes)
    degree = (3 * count + 1) // 2 if count > 1 else 1
    if power <= degree:
        assert abs(float((weights * nodes**power).sum()) - (0 if power % 2 else 2 / (power + 1))) < 1e-13


@drawn
@given(
    seed=seeds,
    heads=st.integers(1, 4),
    targets=st.integers(1, 4),
    sources=st.integers(1, 5),
    still=st.booleans(),
)
def test_conserving_rows_sum_to_what_heads_and_residual_write(
    seed: int, heads: int, targets: int, sources: int, still: bool
) -> None:
    sources = max(sources, targets)
    z2u, u2z = normal(seed, 1, heads, targets, sources), normal(seed + 1, 1, heads, targets)
    if still:
        z2u[:, 0] = 0
    residual = normal(seed + 2, 1, targets)
    total = z2u.sum(-1)
    maps = HeadMaps(z2u, u2z, residual, total, torch.full_like(total, 1e-9))
    rows = compose(Conserving(), maps, torch.arange(targets)).sum(-1)
    moved = total.abs() > 1e-3  # a small sum makes large shares of both signs
    if bool((moved | (total == 0)).all()):
        assert torch.allclose(rows, u2z.sum(1) + residual, atol=1e-9)


@drawn
@given(seed=seeds, targets=st.integers(1, 5), sources=st.integers(5, 7))
def test_a_ratio_correction_keeps_the_row_and_gives_the_share(seed: int, targets: int, sources: int) -> None:
    row, share = normal(seed, targets, sources), normal(seed + 1, targets).sigmoid()
    index = torch.arange(targets)
    row[index, index] = 0
    corrected = with_self_share(row, share, index)
    assert torch.allclose(corrected.sum(-1), row.sum(-1), atol=1e-12)
    assert torch.allclose(corrected[index, index], share * row.sum(-1), atol=1e-12)


@drawn
@given(seed=seeds, layers=st.integers(1, 3), width=st.integers(1, 4), count=st.integers(1, 5))
def test_the_strongest_paths_are_those_of_all_paths(seed: int, layers: int, width: int, count: int) -> None:
    steps = [normal(seed + layer, width, width) for layer in range(layers)]
    every = {
        nodes: math.prod(float(step[a, b]) for step, a, b in zip(steps, (0, *nodes), nodes, strict=False))
        for nodes in itertools.product(range(width), repeat=layers)
    }
    count = min(count, len(every))
    best = sorted(map(abs, every.values()), reverse=True)[:count]
    paths = strongest(steps, 0, count)
    assert np.allclose([abs(path.weight) for path in paths], best)
    assert all(math.isclose(every[path.nodes[1:]], path.weight) for path in paths)


@drawn
@given(words=st.lists(st.text("ab'é-", min_size=1), min_size=1, max_size=6), blanks=st.lists(st.booleans()))
def test_joined_words_lie_where_their_spans_say(words: list[str], blanks: list[bool]) -> None:
    spaces = (blanks + [True] * len(words))[: len(words)]
    joined = Words.joined(words, spaces)
    assert [joined.text[begin:end] for begin, end in joined.spans] == words


@drawn
@given(text=st.text(max_size=40))
def test_words_of_any_text_are_apart_in_order_and_hold_all_but_blanks(text: str) -> None:
    spans, _ = words_of(text, [])
    assert all(low < high for low, high in spans)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
    left = set(range(len(text))) - {place for low, high in spans for place in range(low, high)}
    assert all(not text[place].isalnum() for place in left)
