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
from ligflow.corpus.tables.schema import CELLS, CONTROLS, DIRECT, METRIC_ROWS, PAIRS, RULES
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
        if name == "mean":  # attention is even, so that u stays where it is: nothing moves
            return np.zeros((self.count, self.count))
        itb = np.stack([((z - z[j]) / self.count) @ unit(mean - z[j]) for j in range(self.count)])
        if name == "itb_map_ratio":
            alpha = 1 / self.count
            est = itb.sum(1) * alpha / (1 - alpha)
            return self.ratio(itb, est / (est + itb.sum(1)))
        return self.ratio(itb, self.share(self.head("zero", z), itb)) if name != "itb" else itb

    def mlp(self, att: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Of each head and of the residual; it moves with `matched` only, and the layer adds both."""
        wide = np.repeat(self.gains, self.z.shape[1] // len(self.gains))
        rest = np.zeros_like(self.z)
        if name == "matched":
            rest = self.z - (self.z.mean(0) if att == "mean" else 0)
            start = self.z.mean(0) if att == "mean" else np.zeros(self.z.shape[1])
            whole = np.tile((self.z.mean(0) - start) * wide, (self.count, 1))
            direction = (rest + whole) / np.linalg.norm(rest + whole, axis=1, keepdims=True)
            heads = np.split(whole, len(self.gains), axis=1), np.split(direction, len(self.gains), axis=1)
            return (
                np.stack([(move * part).sum(1) for move, part in zip(*heads, strict=True)]),
                (rest * direction).sum(1),
            )
        moves = [
            gain * (np.tile(part.mean(0), (self.count, 1)) - (part if name == "att_itb_a0" else 0))
            for gain, part in zip(self.gains, self.slices, strict=True)
        ]
        size = np.linalg.norm(np.concatenate(moves, axis=1), axis=1)
        return np.stack([(move**2).sum(1) / size for move in moves]), np.zeros(self.count)

    def direct(self, name: str) -> np.ndarray:
        wide = self.z * np.repeat(self.gains, self.z.shape[1] // len(self.gains))
        mean, rows = wide.mean(0), range(self.count)
        if name == "zero":
            own = np.eye(self.count)
            return np.stack(
                [(wide / self.count + own[j][:, None] * self.z[j]) @ unit(self.z[j] + mean) for j in rows]
            )
        if name == "mean":  # what attention gives stays as a whole, so that the residual alone says where to
            own, moved = np.eye(self.count), self.z - self.z.mean(0)
            return np.stack(
                [((wide - mean) / self.count + own[j][:, None] * moved[j]) @ unit(moved[j]) for j in rows]
            )
        itb = np.stack([((wide - wide[j]) / self.count) @ unit(mean - wide[j]) for j in rows])
        return itb if name == "itb" else self.ratio(itb, self.share(self.direct("zero"), itb))

    def composed(self, att: str, mlp: str, rule: str) -> np.ndarray:
        a, (m, own) = self.att(att), self.mlp(att, mlp)
        return self.weighed(a, m, own) if rule == "conserving" else (a * m[..., None]).sum(0)

    def weighed(self, a: np.ndarray, m: np.ndarray, own: np.ndarray) -> np.ndarray:
        """By shares; what heads that do not move write stays with the target, as the residual does."""
        if not a.any():
            return np.diag(own + m.sum(0))
        return (a / a.sum(-1, keepdims=True) * m[..., None]).sum(0) + np.diag(own)


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


def tied(row: np.ndarray) -> bool:
    """Whether some values are equal but for rounding, which then decides about their ranks."""
    return bool(np.diff(np.sort(row)).min(initial=np.inf) < 1e-6 * np.abs(row).max())


@pytest.mark.parametrize("direct", DIRECT)
def test_every_metric_of_all_pairs_on_a_layer_known_in_closed_form(
    by_hand: tuple[ByHand, Any], direct: str
) -> None:
    maps, frame = by_hand
    d = maps.direct(direct)
    for (att, mlp), rule in itertools.product(PAIRS, RULES):
        c = maps.composed(att, mlp, rule)
        for target, diagonal in itertools.product(range(len(d)), (True, False)):
            kept = np.ones(len(d), dtype=bool) if diagonal else np.arange(len(d)) != target
            row = frame.loc[("token", 0, target, direct, "composed", att, mlp, rule, diagonal)]
            rows = d[target][kept], c[target][kept]
            if not (rows[0].any() and rows[1].any()):  # even attention does not move from the mean
                assert float(row["l2"]) == pytest.approx(np.linalg.norm(rows[0] - rows[1]), abs=1e-5)
                continue
            known = metrics(*rows, 2)
            near = known["l2"] < 1e-6 or any(map(tied, rows))
            for name in METRICS:
                if not (near and name in ("spearman", "top_k")):
                    assert float(row[name]) == pytest.approx(known[name], abs=1e-5), (name, att, mlp, rule)


def test_matched_baselines_agree_perfectly_on_a_layer_without_mlp(by_hand: tuple[ByHand, Any]) -> None:
    row = by_hand[1].loc[("token", 0, 2, "itb", "composed", "itb", "att_itb_a0", "conserving", True)]
    assert float(row["l2"]) == pytest.approx(0, abs=1e-6)
    assert float(row["pearson"]) == pytest.approx(1)


def test_controls_are_those_of_the_matched_pair_which_forget_heads_or_the_target(
    by_hand: tuple[ByHand, Any],
) -> None:
    maps, frame = by_hand
    for direct, pair in {"zero": ("zero", "matched"), "itb": ("itb", "att_itb_a0")}.items():
        a, (m, own) = maps.att(pair[0]), maps.mlp(*pair)
        c, d = maps.weighed(a, m, own), maps.direct(direct)
        off = ~np.eye(len(c), dtype=bool)
        mean = np.where(off, c, 0).sum(0) / (len(c) - 1)
        lesser = {
            "heads_alike": maps.weighed(a, np.tile(m.mean(0), (len(m), 1)), own),
            "heads_permuted": maps.weighed(a, m[::-1], own),  # two heads can only be exchanged
            "mean_row": np.tile(mean, (len(c), 1)),
            "neighbour": c[[1, 2, 3, 4, 5, 4]],
        }
        for kind, target in itertools.product(CONTROLS, range(len(c))):
            row = frame.loc[("token", 0, target, direct, kind, *pair, "conserving", False)]
            known = metrics(d[target][off[target]], lesser[kind][target][off[target]], 2)
            for name in ("l2", "relative_l2", "normalised_l2", "pearson"):
                assert float(row[name]) == pytest.approx(known[name], abs=1e-5), (direct, kind, name)


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
    assert rows.num_rows == 2 * len(DIRECT) * (24 + 24 + len(CONTROLS) + 1) * 6
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
