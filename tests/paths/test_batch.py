"""Rows of several sentences: their table, and that each sentence has what it has alone."""

import pytest
import torch

from architectures import ARCHITECTURES, example, shared
from ligflow import LigflowError
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.method.baselines import Start
from ligflow.paths.attention_path import attention_path
from ligflow.paths.batch import alone, frozen, starts_together, together
from ligflow.routes.z2z import z2z_map

NODES = torch.tensor([0.2, 0.9], dtype=torch.float64)


def sentences(name: str, lengths: tuple[int, ...] = (3, 6)) -> list[Layer]:
    """The second layer of one model on sentences of some lengths."""
    explainer = shared(ARCHITECTURES[name], torch.float64)
    return [explainer.prepared.record(example(ARCHITECTURES[name], length))[1] for length in lengths]


def test_rows_are_tokens_of_sentences_filled_up_with_zeros() -> None:
    first, second = sentences("bert")
    batch = together([first, second])
    assert (batch.tokens, len(batch.z), batch.host) == (6, 12, second)
    torch.testing.assert_close(batch.z[:3], first.hidden)
    assert batch.z[3:6].abs().max() == 0
    torch.testing.assert_close(batch.z[6:], second.hidden)
    torch.testing.assert_close(batch.output()[6:], second.output)
    assert batch.columns(torch.tensor([1, 7, 11])).tolist() == [1, 1, 5]


def test_a_table_has_a_line_for_each_sentence_and_gives_rows_back() -> None:
    table = together(sentences("bert")).table(torch.tensor([0, 2, 7]))
    assert table.sentences.tolist() == [0, 1]
    assert table.columns.tolist() == [[0, 2], [1, 0]]
    assert table.cells is not None
    assert table.cells.tolist() == [0, 1, 2]
    tokens = torch.arange(12.0).reshape(2, 6, 1)
    assert table.of(tokens)[..., 0].tolist() == [[0, 2], [7, 6]]
    rows = torch.tensor([[5.0, 6.0, 7.0]])
    assert table.spread(rows).tolist() == [[5, 6, 7, 0]]
    assert torch.equal(table.pick(table.spread(rows)), rows)
    only = together(sentences("bert")).table(torch.tensor([8, 9]))
    assert (only.sentences.tolist(), only.columns.tolist(), only.cells) == ([1], [[2, 3]], None)


@pytest.mark.parametrize("positionwise", [True, False])
def test_replayed_tokens_are_side_by_side_or_in_their_own_column(positionwise: bool) -> None:
    (layer,) = sentences("bert", (6,))
    batch = alone(layer.with_findings(positionwise=positionwise))
    expected = [0, 1, 2, 3] if positionwise else [1, 4, 7, 10]
    assert batch.replayed_tokens(2, torch.tensor([1, 4])).tolist() == expected


@pytest.mark.parametrize("baseline", ["itb", "zero"])
@pytest.mark.parametrize("name", ["bert", "llama", "gemma2"])
def test_two_sentences_together_have_what_each_has_alone(name: str, baseline: str) -> None:
    """u, z' and the integrands of all rows; nothing comes from what fills up the shorter sentence."""
    layers = sentences(name)
    starts = [
        Start(layer.hidden if baseline == "itb" else 0 * layer.hidden, baseline == "itb") for layer in layers
    ]
    rows = torch.tensor([0, 2, 7, 10, 11])
    with prepared(layers[0].module, layers[0].implementation):
        path = attention_path(together(layers), starts_together(starts, 6))
        whole = z2z_map(path)
        u, image = path.at(NODES, rows), whole.image(NODES, rows)
        pullback = whole.pullback(NODES, rows, torch.sin)
        for layer, start, own in zip(layers, starts, ([0, 1], [2, 3, 4]), strict=True):
            columns, tokens = rows[own] % 6, len(layer.hidden)
            apart = attention_path(alone(layer), start)
            torch.testing.assert_close(u[:, own], apart.at(NODES, columns))
            torch.testing.assert_close(image[:, own], z2z_map(apart).image(NODES, columns))
            expected = z2z_map(apart).pullback(NODES, columns, torch.sin)
            torch.testing.assert_close(pullback[:, own, :, :tokens], expected)
            assert pullback[:, own, :, tokens:].abs().sum() == 0


def test_rows_keep_the_experts_of_the_real_input() -> None:
    """One choice of two of four experts a token; the rows that fill up a sentence choose nothing."""
    layers = sentences("mixtral")
    with prepared(layers[0].module, layers[0].implementation):
        batch = frozen(together(layers))
    (held,) = batch.held
    assert held.shape == (12, layers[0].module.mlp.gate.top_k)
    with torch.no_grad():
        for layer, rows in zip(layers, (slice(0, 3), slice(6, 12)), strict=True):
            seen: list[torch.Tensor] = []
            gate = layer.module.mlp.gate
            handle = gate.register_forward_hook(lambda *call, into=seen: into.append(call[-1][-1]))
            with prepared(layer.module, layer.implementation):
                layer.forward(layer.hidden[None])
            handle.remove()
            assert torch.equal(held[rows].sort(-1).values, seen[0].reshape(-1, held.shape[1]).sort(-1).values)


def test_experts_are_held_only_where_there_are_some() -> None:
    (layer,) = sentences("bert", (3,))
    with (
        prepared(layer.module, layer.implementation),
        pytest.raises(LigflowError, match="experts"),
    ):
        frozen(alone(layer))
