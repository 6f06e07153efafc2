"""Jumps where experts change: a closed form, differences of integrals, and sums at every depth."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ligflow import CompletenessWarning, Explainer, Prediction
from ligflow.layer.float64 import keep_double
from ligflow.prediction.chain import Accuracy, Chain, chain
from ligflow.prediction.graph import Built, graph_of
from ligflow.prediction.path_variable import Values, Variable
from ligflow.prediction.routing import routed_average
from ligflow.prediction.routing_changes import RoutedPath, stops_of
from ligflow.prediction.segment import Segment
from prediction.chain_of_family import runs_of_family
from prediction.oracle_families import FAMILIES, Family
from prediction.oracle_jumps import ExpertMlp, jumps_of, moved_along

_MANY = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 12}
_MIXTRAL = FAMILIES["mixtral"]
ROUTED = {
    "mixtral": replace(_MIXTRAL, config=_MIXTRAL.config | {"num_local_experts": 8}),
    "gpt_oss": FAMILIES["gpt_oss"],
    "deepseek_v3": replace(
        FAMILIES["deepseek_v3"],
        config=FAMILIES["deepseek_v3"].config
        | {"n_routed_experts": 8, "n_group": 4, "topk_group": 2, "num_hidden_layers": 3},
    ),
    "qwen3_moe": replace(_MIXTRAL, model="Qwen3MoeForCausalLM", config=_MIXTRAL.config | _MANY),
    "olmoe": replace(_MIXTRAL, model="OlmoeForCausalLM", config=_MIXTRAL.config | {"num_experts": 8}),
}


def two_experts(tokenwise: bool = True) -> tuple[Segment, Tensor, Tensor, Tensor]:
    """Experts A and B of each token, by whether `r . x` is positive; the shared one adds x."""
    generator = torch.Generator().manual_seed(0)
    r = torch.randn(3, generator=generator, dtype=torch.float64)
    a, b = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)

    def run(values: Values) -> Values:
        x = values["x"]
        scores = torch.stack([torch.zeros_like(x @ r), x @ r], dim=-1)
        choice = scores.flatten(0, 1).topk(1, dim=-1).indices.reshape(x.shape[:2])
        each = torch.stack([x @ a.T, x @ b.T], dim=-2)
        return {"y": x + each.take_along_dim(choice[..., None, None], -2)[..., 0, :]}

    segment = Segment("MLP", 0, "MLP", ("x",), ("y",), run, tokenwise, choices=(4,))
    return segment, r, a, b


def of_segment(segment: Segment, start: Tensor, end: Tensor) -> dict[str, Variable]:
    ends = segment.run({"x": torch.stack([start, end])})["y"]
    return {"x": Variable(end, start), "y": Variable(ends[1], ends[0])}


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("tokenwise", [True, False])
def test_two_experts_are_their_closed_form(tokenwise: bool) -> None:
    """`m + (a A + (1 - a) B)ᵀ m + m . (B - A) x(a) r / (r . Δ)`, where `r . x(a) = 0`, or the other way."""
    segment, r, a, b = two_experts(tokenwise)
    start, end, m = drawn(3, 4, 3).unbind()
    variables = of_segment(segment, start, end)
    result = routed_average(segment, variables, {"y": m[None]}, {}, torch.tensor([1e-9]).double())
    crossed = 0
    for k in range(4):
        step = end[k] - start[k]
        first, last = ((b, a) if r @ each[k] > 0 else (a, b) for each in (start, end))
        place = float(-(r @ start[k]) / (r @ step)) if first[0] is not last[0] else 1.0
        expected = m[k] + place * first[0].T @ m[k] + (1 - place) * first[1].T @ m[k]
        jump = 0.0
        if first[0] is not last[0]:
            crossed += 1
            jump = float(m[k] @ (first[1] - first[0]) @ (start[k] + place * step))
            expected = expected + jump * r / (r @ step)
        assert torch.allclose(result.cotangents["x"][0, k], expected, atol=1e-9)
        assert float(result.jumps[0, k]) == pytest.approx(jump, abs=1e-9)
    assert crossed >= 2
    assert abs(float(result.residue)) < 1e-12


def explained(family: Family, accuracy: Accuracy, cut: str = "modules") -> tuple[Built, Chain, float]:
    with keep_double():
        runs = runs_of_family(family, family.built())
        built = graph_of(runs, cut)
        change = (built.scores[0] - built.scores[1]).double()
        return built, chain(built.graph, change, accuracy, runs.model), float(change)


def off(result: Chain, change: float) -> float:
    """By how much the worst depth misses the change, in parts of the scale."""
    scale = max(abs(change), float(result.by_depth[0, 0].abs().sum()))
    return float((result.by_depth[0].sum(-1) - change).abs().max()) / scale


@pytest.mark.parametrize("name", ROUTED)
def test_every_depth_sums_to_the_change_and_every_direction_is_the_oracles(name: str) -> None:
    built, result, change = explained(ROUTED[name], Accuracy(tol=1e-7, max_points=4095))
    assert off(result, change) < 1e-6
    seen = 0
    for number, segment in enumerate(built.graph.segments):
        if not segment.choices:
            continue
        average, above = result.averages[number], result.at_images[number]
        assert average is not None
        x = built.graph.variables[segment.sources[0]]
        call = next(call for call in built.calls if call.number == segment.layer)
        mlp = ExpertMlp(call.layer.module)
        for k in (1, 2, 6):
            start, end, m = x.reference[k], x.real[k], above[segment.images[0]][0, k]
            w = torch.randn(16, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
            with keep_double():
                expected, jump = moved_along(mlp, start, end, m, w), jumps_of(mlp, start, end, m)
            cotangent = average.cotangents[segment.sources[0]][0, k]
            assert float(cotangent @ w) == pytest.approx(expected, abs=1e-6)
            assert float(average.jumps[0, k]) == pytest.approx(float(jump.sum()), abs=1e-7)
            seen += len(jump)
    assert seen >= 3


@pytest.mark.parametrize(("name", "cut"), [("mixtral", "layer"), ("deepseek_v3", "model")])
def test_a_segment_of_all_tokens_is_cut_wherever_one_of_them_changes(name: str, cut: str) -> None:
    _, result, change = explained(FAMILIES[name], Accuracy(tol=1e-6, max_points=4095), cut)
    assert off(result, change) < 1e-6
    assert (
        sum(int((each.jumps != 0).sum()) for each in result.averages if each and each.jumps is not None) > 1
    )


def test_an_attention_whose_experts_only_change_their_order_jumps_too() -> None:
    """JetMoE has a head for the first expert of a token, one for the second, ..."""
    config = {
        "vocab_size": 23, "hidden_size": 16, "num_hidden_layers": 1, "num_key_value_heads": 2,
        "kv_channels": 4, "intermediate_size": 12, "num_local_experts": 3, "num_experts_per_tok": 2,
    }  # fmt: skip
    family = replace(FAMILIES["mixtral"], model="JetMoeForCausalLM", config=config)
    built, result, change = explained(family, Accuracy(tol=1e-4))
    assert built.graph.segments[0].kind == "attention"
    assert built.graph.segments[0].choices == (7,)
    assert off(result, change) < 1e-4


def test_rows_have_the_numbers_of_each_alone() -> None:
    family = ROUTED["mixtral"]
    with keep_double():
        runs = runs_of_family(family, family.built())
        scores = [lambda outputs, t=t: outputs.logits.log_softmax(-1)[:, -1, t] for t in ([1, 5], [1], [5])]
        both, *each = (graph_of(replace(runs, score=score)) for score in scores)
        results = [
            chain(of.graph, (of.scores[0] - of.scores[1]).double(), Accuracy(points=7), runs.model)
            for of in (both, *each)
        ]
    for row in range(2):
        torch.testing.assert_close(results[0].by_depth[row], results[row + 1].by_depth[0])
        for ours, alone in zip(results[0].averages, results[row + 1].averages, strict=True):
            assert ours is not None
            assert alone is not None
            if ours.jumps is not None:
                torch.testing.assert_close(ours.jumps[row], alone.jumps[0])


def test_what_changes_of_experts_contribute_is_said_saved_and_part_of_the_mlps(tmp_path: Path) -> None:
    family = ROUTED["olmoe"]
    model = family.built().float()
    explainer, start = Explainer(model), family.references(model)[0][None]
    p = explainer.explain_prediction(family.inputs(), answer=1, reference=start)
    assert abs(p.certificate) < 1e-4
    assert list(p.routing) == [0, 1]
    assert p.routing[1].nonzero().tolist() == [[6]]
    (note,) = [note for note in p.meta["notes"] if "experts" in note]
    assert note.startswith(
        "other experts are chosen along the paths in layer 0 (5 tokens), layer 1 (1 token):"
    )
    loaded = Prediction.load(p.save(tmp_path / "p.safetensors"))
    assert all(torch.equal(loaded.routing[layer], values) for layer, values in p.routing.items())
    table = p.to_pandas()
    rows = table[table["kind"] == "routing"]
    assert float(rows["relevance"].sum()) == pytest.approx(sum(float(v.sum()) for v in p.routing.values()))
    shown = p._repr_html_()
    assert "layer 0, a change of experts at ‘#6’" in shown
    *_, batched = explainer.explain_predictions(
        [{"input_ids": torch.tensor([[1, 9, 9, 2, 11, 6, 8]])}, family.inputs()], answer=1, reference=start
    )
    rounding = {"atol": 1e-6, "rtol": 1e-5}  # of float32
    torch.testing.assert_close(batched.relevance, p.relevance, **rounding)
    torch.testing.assert_close(batched.routing[0], p.routing[0], **rounding)
    held = explainer.explain_prediction(family.inputs(), answer=1, reference=start, experts="held")
    assert held.routing == {}


def test_a_warning_names_segments_whose_jumps_are_not_located() -> None:
    family = FAMILIES["mixtral"]
    model = family.built().float()
    explainer, start = Explainer(model), family.references(model)[0][None]
    with pytest.warns(
        CompletenessWarning, match=r"layer 0, layer: the jumps of .* max_points=7 allows.*'held'"
    ):
        p = explainer.explain_prediction(
            family.inputs(), answer=1, reference=start, cut="layer", max_points=7
        )
    assert abs(p.certificate) > 1e-2
    assert [note for note in p.meta["notes"] if "not located" in note]


@pytest.mark.slow
def test_few_looks_find_all_changes_that_many_find() -> None:
    """Figures of docs/explanation/prediction.md."""
    found = {32: 0, 4096: 0}
    for family in ROUTED.values():
        for seed in range(6):
            with keep_double():
                built = graph_of(runs_of_family(each := replace(family, seed=seed), each.built()))
                for segment in built.graph.segments:
                    if segment.choices:
                        path = RoutedPath(
                            segment, {name: built.graph.variables[name] for name in segment.sources}
                        )
                        for looks in found:
                            found[looks] += int(stops_of(path, looks).change.sum())
    assert found == {32: 480, 4096: 480}


@pytest.mark.parametrize("cut", ["modules", "layer", "model"])
def test_errors_are_no_less_than_what_is_missing_where_jumps_are_not_found(cut: str) -> None:
    """PhiMoE's router lets experts fall under a threshold too, which is no choice by `topk`."""
    family = replace(_MIXTRAL, model="PhimoeForCausalLM")
    model = family.built()
    explainer, start = Explainer(model), family.references(model)[0][None]
    with pytest.warns(CompletenessWarning):
        p = explainer.explain_prediction(family.inputs(), answer=1, reference=start, edges=(), cut=cut)
    assert abs(p.certificate) > 0.02
    assert float(p.error.sum()) >= abs(p.certificate) * p.scale
    unmet = [segment for segment in p.certificates if not segment.met]
    assert unmet[0].error >= abs(unmet[0].residue) > 0.02 * p.scale
