"""Induction found by parts of edges, with no head chosen: on a model that has nothing else, on SmolLM2."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from ligflow import Explainer, Prediction

WORDS, LENGTH, PAIRS = 30, 10, 8
PROMPT = [1, 5, 9, 14, 20, 25, 6, 11, 17, 23, 28, 14]  # 20 followed 14
BEFORE, FOLLOWER, LAST = 3, 4, 11


@pytest.fixture(scope="module")
def inducing() -> Explainer:
    """Two layers of attention alone, taught to say what followed a token when it comes again."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=32, intermediate_size=1, num_hidden_layers=2, num_attention_heads=1,
        num_key_value_heads=1, max_position_embeddings=64, bos_token_id=1, eos_token_id=2,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0, 32**-0.5)
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.requires_grad_(False).zero_()
    optimizer = torch.optim.AdamW(
        filter(lambda p: p.requires_grad, model.parameters()), 8e-3, weight_decay=0.1
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        texts = _texts(generator)
        said = model(texts).logits[:, LENGTH + 1 : -1 : 2].flatten(0, 1)
        loss = cross_entropy(said, texts[:, LENGTH + 2 :: 2].flatten())
        if float(loss.detach()) < 0.02:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05
    return Explainer(model.eval())


def _texts(generator: torch.Generator) -> Tensor:
    """Ten tokens that differ, then pairs of neighbours among them."""
    row = torch.rand(48, WORDS - 3, generator=generator).argsort(1)[:, :LENGTH] + 3
    at = torch.randint(0, LENGTH - 1, (48, PAIRS), generator=generator)
    pairs = torch.stack([row.gather(1, at), row.gather(1, at + 1)], 2).flatten(1)
    return torch.cat([torch.ones(48, 1, dtype=torch.long), row, pairs], 1)


@pytest.mark.parametrize(
    ("moved", "part", "edge"),
    [
        (LAST, "query", (1, LAST, FOLLOWER)),  # the last token asks for what followed it
        (BEFORE, "key", (1, LAST, FOLLOWER)),  # by the key, which says what stood before
        (FOLLOWER, "value", (1, LAST, FOLLOWER)),  # and reads what it is
    ],
)
def test_each_token_of_induction_has_its_part(
    inducing: Explainer, moved: int, part: str, edge: tuple[int, int, int]
) -> None:
    other = torch.tensor(PROMPT)
    other[moved] = 16
    p = inducing.explain_prediction(
        {"input_ids": torch.tensor([PROMPT])}, 20, reference=other, edges="all", parts=True
    )
    assert p.change > 3
    name, *strongest = _strongest(p)
    assert (name, tuple(strongest)) == (part, edge)
    if moved == BEFORE:  # a head of the first layer has read what stands before
        read = p.edges(0, parts=True).value.abs().sum(0)
        assert divmod(int(read.argmax()), len(PROMPT)) == (FOLLOWER, BEFORE)


def _strongest(p: Prediction) -> tuple[str, int, int, int]:
    """Part, layer, target and source of the strongest edge of the last layer."""
    frame = p.to_pandas()
    rows = frame[frame.kind.isin(["value", "key", "query"]) & (frame.layer == 1)]
    row = rows.loc[rows.relevance.abs().idxmax()]
    return row.kind, int(row.layer), int(row.position), int(row.source_position)


@pytest.mark.slow
def test_induction_in_smollm2(no_shape_checks: None) -> None:
    """`foo bar baz qux foo bar baz` -> ` qu`: asked at the end, found by what followed, read by its value."""
    explainer = Explainer.from_pretrained("embedded:smollm2")
    p = explainer.explain_prediction("foo bar baz qux foo bar baz", edges="all", parts=True)
    labels = [token.strip() for token in p.tokens]
    last, follower = len(labels) - 1, labels.index("qu")
    assert labels[follower - 1] == labels[last]
    frame = p.to_pandas()
    for kind in ("query", "key"):
        rows = frame[frame.kind == kind]
        best = rows.loc[rows.relevance.abs().nlargest(5).index]
        assert set(best.position) == {last}, kind
        assert best.iloc[0].source_position == follower, kind
    read = frame[(frame.kind == "value") & (frame.position == follower) & (frame.layer < 25)]
    before = read.loc[read.relevance.abs().idxmax()]
    assert before.source_position == follower - 1  # a head that reads the token before, by its value
    sums = {layer: float((p.parts[layer].sum((0, 3)) - p.heads[layer]).abs().max()) for layer in p.parts}
    assert max(sums.values()) < 1e-4 * p.scale
