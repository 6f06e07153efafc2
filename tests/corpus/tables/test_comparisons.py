"""Every metric of all pairs of baselines, on a layer known in closed form."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import architectures
import hand_made
from ligflow import Explainer, Words
from ligflow.corpus.tables.certificates import certify
from ligflow.corpus.tables.comparisons import compare
from ligflow.corpus.tables.experiment import VARIANTS, Experiment, named
from ligflow.corpus.tables.schema import ATT, CELLS, DIRECT, METRIC_ROWS, MLP, RULES
from ligflow.evaluation.consistency import METRICS
from ligflow.results.join import join

GAINS = (1.0, 3.0)


IDS = torch.tensor([[3, 7, 9, 11, 20, 7]])


KEYS = ["unit", "layer", "target", "direct", "map", "att", "mlp", "rule", "diagonal"]


def table_of(explainer: Explainer, inputs: Any, experiment: Experiment) -> Any:
    flows = named(explainer.explain_under(inputs, experiment.variants, layers=experiment.layers))
    return compare(4, flows, explainer.attention(inputs, layers=experiment.layers), experiment)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


class ByHand:
    """All maps of the hand-made layer, [target, source] or [head, target, source], from its formulas."""

    def __init__(self, z: np.ndarray, gains: tuple[float, ...]) -> None:
        self.z, self.gains, self.count = z, gains, len(z)
        self.slices = np.split(z, len(gains), axis=1)

    def ratio(self, c: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Each row of c with `share` of its sum at the target itself."""
        out = c * (1 - share)[:, None]
        out[np.arange(self.count), np.arange(self.count)] = share * c.sum(1)
        return out

    def share(self, o: np.ndarray, c: np.ndarray) -> np.ndarray:
        """From est = o_j (sum_{k!=j} c_k) / (sum_{k!=j} o_k), over what the row then sums to."""
        others = o.sum(1) - o.diagonal()
        est = o.diagonal() * c.sum(1) / others
        return est / (est + c.sum(1))

    def att(self, name: str) -> np.ndarray:
        return np.stack([self.head(name, part) for part in self.slices])

    def head(self, name: str, z: np.ndarray) -> np.ndarray:
        mean = z.mean(0)
        if name == "zero":
            return np.tile((z / self.count) @ unit(mean), (self.count, 1))
        itb = np.stack([((z - z[j]) / self.count) @ unit(mean - z[j]) for j in range(self.count)])
        if name == "itb_map_ratio":
            alpha = 1 / self.count
            est = itb.sum(1) * alpha / (1 - alpha)
            return self.ratio(itb, est / (est + itb.sum(1)))
        return self.ratio(itb, self.share(self.head("zero", z), itb)) if name != "itb" else itb

    def mlp(self, name: str) -> np.ndarray:
        moves = [
            gain * (np.tile(part.mean(0), (self.count, 1)) - (part if name == "att_itb_a0" else 0))
            for gain, part in zip(self.gains, self.slices, strict=True)
        ]
        size = np.linalg.norm(np.concatenate(moves, axis=1), axis=1)
        return np.stack([(move**2).sum(1) / size for move in moves])

    def direct(self, name: str) -> np.ndarray:
        wide = self.z * np.repeat(self.gains, self.z.shape[1] // len(self.gains))
        mean, rows = wide.mean(0), range(self.count)
        if name == "zero":
            own = np.eye(self.count)
            return np.stack(
                [(wide / self.count + own[j][:, None] * self.z[j]) @ unit(self.z[j] + mean) for j in rows]
            )
        itb = np.stack([((wide - wide[j]) / self.count) @ unit(mean - wide[j]) for j in rows])
        return itb if name == "itb" else self.ratio(itb, self.share(self.direct("zero"), itb))

    def composed(self, att: str, mlp: str, rule: str) -> np.ndarray:
        a, m = self.att(att), self.mlp(mlp)
        a = a / a.sum(-1, keepdims=True) if rule == "conserving" else a
        return (a * m[..., None]).sum(0)


def metrics(d: np.ndarray, c: np.ndarray, top_k: int) -> dict[str, float]:
    strongest = [set(np.argsort(-np.abs(one), kind="stable")[:top_k]) for one in (c, d)]
    return {
        "l2": float(np.linalg.norm(c - d)),
        "relative_l2": float(np.linalg.norm(c - d) / np.linalg.norm(d)),
        "normalised_l2": float(np.linalg.norm(c / np.abs(c).sum() - d / np.abs(d).sum())),
        "pearson": float(stats.pearsonr(c, d).statistic),
        "spearman": float(stats.spearmanr(c, d).statistic),
        "top_k": len(strongest[0] & strongest[1]) / top_k,
    }


@pytest.fixture(scope="module")
def by_hand() -> tuple[ByHand, Any]:
    model = hand_made.build(GAINS).double()
    frame = table_of(Explainer(model), {"input_ids": IDS}, Experiment(top_k=2)).to_pandas()
    return ByHand(model.embed.weight.data[IDS[0]].numpy(), GAINS), frame.set_index(KEYS).sort_index()


@pytest.mark.parametrize("direct", DIRECT)
def test_every_metric_of_all_pairs_on_a_layer_known_in_closed_form(
    by_hand: tuple[ByHand, Any], direct: str
) -> None:
    maps, frame = by_hand
    d = maps.direct(direct)
    for att, mlp, rule in itertools.product(ATT, MLP, RULES):
        c = maps.composed(att, mlp, rule)
        for target, diagonal in itertools.product(range(len(d)), (True, False)):
            kept = np.ones(len(d), dtype=bool) if diagonal else np.arange(len(d)) != target
            known = metrics(d[target][kept], c[target][kept], 2)
            row = frame.loc[("token", 0, target, direct, "composed", att, mlp, rule, diagonal)]
            near = known["l2"] < 1e-6  # equal maps: ranks of values that are equal but for rounding
            for name in METRICS:
                if not (near and name in ("spearman", "top_k")):
                    assert float(row[name]) == pytest.approx(known[name], abs=1e-5), (name, att, mlp, rule)


def test_matched_baselines_agree_perfectly_on_a_layer_without_mlp(by_hand: tuple[ByHand, Any]) -> None:
    row = by_hand[1].loc[("token", 0, 2, "itb", "composed", "itb", "att_itb_a0", "conserving", True)]
    assert float(row["l2"]) == pytest.approx(0, abs=1e-6)
    assert float(row["pearson"]) == pytest.approx(1)


def test_the_attention_control_is_the_mean_of_the_heads(by_hand: tuple[ByHand, Any]) -> None:
    maps, frame = by_hand
    d = maps.direct("zero")
    rows = frame.xs("attention", level="map").reset_index()
    row = rows[(rows.direct == "zero") & rows.diagonal & (rows.target == 1)].iloc[0]
    uniform = np.full(len(d), 1 / len(d))
    assert row["l2"] == pytest.approx(np.linalg.norm(d[1] - uniform))
    assert np.isnan(row["pearson"])  # uniform attention correlates with nothing
    assert row["sources"] == len(d)
    assert row["norm"] == pytest.approx(np.linalg.norm(d[1]), rel=1e-5)


def test_the_shuffled_control_keeps_the_values_of_its_pair() -> None:
    model = hand_made.build(GAINS).double()
    explainer, inputs = Explainer(model), {"input_ids": IDS}
    one, same = (table_of(explainer, inputs, Experiment(seed=3)) for _ in range(2))
    other = table_of(explainer, inputs, Experiment(seed=4))
    assert one.equals(same)
    frames = [table.to_pandas() for table in (one, other)]
    for name in ("composed", "attention"):
        parts = [frame[frame["map"] == name].drop(columns="sentence") for frame in frames]
        assert parts[0].equals(parts[1])
    assert not frames[0]["l2"].equals(frames[1]["l2"])


def test_the_tables_keep_to_their_schema(by_hand: tuple[ByHand, Any]) -> None:
    explainer = Explainer(hand_made.build(GAINS, layers=2))
    experiment = Experiment(layers=(1,))
    flows = named(explainer.explain_under({"input_ids": IDS}, experiment.variants, layers=(1,)))
    rows = compare(4, flows, explainer.attention({"input_ids": IDS}, layers=(1,)), experiment)
    cells = certify(4, flows)
    assert rows.schema.equals(METRIC_ROWS)
    assert cells.schema.equals(CELLS)
    assert rows.num_rows == 2 * 3 * (16 + 16 + 1) * 6
    assert cells.num_rows == len(VARIANTS) * 6
    assert set(rows["layer"].to_pylist()) == set(cells["layer"].to_pylist()) == {1}
    assert set(rows["sentence"].to_pylist()) == set(cells["sentence"].to_pylist()) == {4}


@pytest.fixture(scope="module")
def minilm() -> Explainer:
    return Explainer.from_pretrained()


def test_words_of_both_routes_come_from_one_alignment(minilm: Explainer) -> None:
    words = Words.joined(
        ["The", "lighthousekeeper", "did", "n't", "sleep", "."], [True, True, False, True, False, True]
    )
    experiment = Experiment(layers=(2,), units=("token", "word"))
    flows = named(minilm.explain_under(words, experiment.variants, layers=(2,)))
    merged = flows["z2z", "itb"].merge_words()
    frame = compare(0, flows, minilm.attention(words, layers=(2,)), experiment).to_pandas()
    tokens, by_word = frame[frame.unit == "token"], frame[frame.unit == "word"]
    assert merged.tokens == ["[CLS]", "The", "lighthousekeeper", "did", "n't", "sleep", ".", "[SEP]"]
    assert len(flows["z2z", "itb"].tokens) > len(merged.tokens)
    assert set(by_word["target"]) == set(range(8))
    assert set(tokens["sources"]) == {len(flows["z2z", "itb"].tokens), len(flows["z2z", "itb"].tokens) - 1}
    composed = join([flows["z2u", "itb"], flows["u2z", "att_itb_a0"]]).merge_words().composed("conserving")[0]
    gap = (composed - merged.z2z[0]).norm(dim=-1)
    rows = by_word[
        (by_word.direct == "itb") & (by_word["map"] == "composed") & (by_word.att == "itb")
        & (by_word.mlp == "att_itb_a0") & (by_word.rule == "conserving") & by_word.diagonal
    ]  # fmt: skip
    assert rows["l2"].tolist() == pytest.approx(gap.tolist(), rel=1e-4)


def test_special_tokens_can_be_left_out(minilm: Explainer) -> None:
    frame = table_of(minilm, "Nobody saw the light.", Experiment(layers=(0,), hide_special=True)).to_pandas()
    assert set(frame["target"]) == {1, 2, 3, 4, 5}
    assert set(frame["sources"]) == {5, 4}


def test_a_causal_model_compares_only_what_a_target_sees() -> None:
    explainer = Explainer(architectures.build(architectures.ARCHITECTURES["llama"]))
    experiment = Experiment(layers=(1,))
    frame = table_of(explainer, {"input_ids": IDS}, experiment).to_pandas()
    whole = frame[frame.diagonal]
    assert (whole["sources"] == whole["target"] + 1).all()
    first = whole[(whole.target == 0) & (whole.direct == "itb")]
    assert first[["relative_l2", "pearson", "spearman", "top_k"]].isna().all(axis=None)  # it cannot move
    assert (first["l2"].notna()).all()


def test_rows_are_targets_in_the_attention_control() -> None:
    """The direct map of each target against the mean of its own attention rows, which are not symmetric."""
    explainer = Explainer(architectures.build(architectures.ARCHITECTURES["llama"]))
    experiment, inputs = Experiment(layers=(1,)), {"input_ids": IDS}
    flows = named(explainer.explain_under(inputs, experiment.variants, layers=(1,)))
    attention = explainer.attention(inputs, layers=(1,))
    frame = compare(0, flows, attention, experiment).to_pandas()
    rows = frame[(frame["map"] == "attention") & (frame.direct == "zero") & frame.diagonal]
    gap = (flows["z2z", "zero"].z2z[0] - attention[0].mean(0)).norm(dim=-1)
    assert rows.sort_values("target")["l2"].tolist() == pytest.approx(gap.tolist(), rel=1e-5)
