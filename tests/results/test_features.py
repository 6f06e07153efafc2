import pandas
import pytest
import torch

from ligflow.errors import LigflowError
from ligflow.results.feature_tables import to_pandas
from ligflow.results.features import Features, nodes, summed


def features(dictionary: str = "small", **changes: object) -> Features:
    """Two features at three tokens, with a rest."""
    numbers = {
        "positions": torch.tensor([0, 1, 1]), "features": torch.tensor([4, 4, 7]),
        "relevance": torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64),
        "activations": torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64),
        "reference_activations": torch.tensor([0.0, 2.0, 0.0], dtype=torch.float64),
        "bias": torch.zeros(3, dtype=torch.float64), "skip": torch.zeros(3, dtype=torch.float64),
        "others": torch.zeros(3, dtype=torch.float64),
        "rest": torch.tensor([0.25, 0.0, -0.25], dtype=torch.float64),
    }  # fmt: skip
    return Features(
        dictionary, "blocks.1.hook_resid_post", 9, ["a", "b", "c"], **{**numbers, **changes},
        names={4: ("days", "https://example.org/4")},
    )  # fmt: skip


def test_sums_by_token_and_by_feature():
    own = features()
    assert own.by_token.tolist() == [0.5, -1.0, 0.0]
    assert own.total.tolist() == [0.75, -1.0, -0.25]
    assert own.by_feature() == {4: -1.5, 7: 1.0}
    assert own.unexplained == pytest.approx(0.5 / 4)
    assert [*nodes(own)] == [("rest", 0.0)]


def test_rows_are_the_entries_by_size_with_their_names():
    first, second, third = features().rows()
    assert (first.feature, first.position, first.token, first.relevance) == (4, 1, "b", -2.0)
    assert (first.name, first.url) == ("days", "https://example.org/4")
    assert (first.activation, first.reference_activation) == (0.0, 2.0)
    assert (second.feature, second.name) == (7, "")
    assert third.relevance == 0.5


def test_what_is_not_listed_is_summed():
    top = features().strongest(1)
    assert top.others.tolist() == [0.5, 1.0, 0.0]
    assert torch.equal(top.total, features().total)
    assert top.names == {4: ("days", "https://example.org/4")}


def test_sums_over_explanations():
    other = features(
        positions=torch.tensor([1, 2, 2]), relevance=torch.tensor([1.0, 4.0, 8.0], dtype=torch.float64)
    )
    both = summed([features(), other], 0.5)
    cells = zip(both.positions.tolist(), both.features.tolist(), both.relevance.tolist(), strict=True)
    assert {(k, f): r for k, f, r in cells} == {
        (0, 4): 0.25, (1, 4): -0.5, (1, 7): 0.5, (2, 4): 2.0, (2, 7): 4.0,
    }  # fmt: skip
    assert torch.allclose(both.total, (features().total + other.total) / 2)
    with pytest.raises(LigflowError, match="other dictionaries"):
        summed([features(), features("large")], 0.5)


def test_a_table_of_entries_and_nodes():
    table = to_pandas(features())
    assert isinstance(table, pandas.DataFrame)
    assert table["relevance"].sum() == pytest.approx(float(features().total.sum()))
    assert table["kind"].tolist() == ["feature"] * 3 + ["rest"] * 2
    assert table["feature"].tolist()[:3] == [4, 7, 4]
    assert table["name"][0] == "days"
