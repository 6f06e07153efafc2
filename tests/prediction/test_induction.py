"""Induction found by parts of edges, with no head chosen: on a model that has nothing else, on SmolLM2."""

import pytest
import torch

from inducing import inducing
from ligflow import Explainer, Prediction

PROMPT = [1, 5, 9, 14, 20, 25, 6, 11, 17, 23, 28, 14]  # 20 followed 14
BEFORE, FOLLOWER, LAST = 3, 4, 11


@pytest.mark.parametrize(
    ("moved", "part", "edge"),
    [
        (LAST, "query", (1, LAST, FOLLOWER)),  # the last token asks for what followed it
        (BEFORE, "key", (1, LAST, FOLLOWER)),  # by the key, which says what stood before
        (FOLLOWER, "value", (1, LAST, FOLLOWER)),  # and reads what it is
    ],
)
def test_each_token_of_induction_has_its_part(moved: int, part: str, edge: tuple[int, int, int]) -> None:
    other = torch.tensor(PROMPT)
    other[moved] = 16
    p = inducing().explain_prediction(
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
