"""Many texts at once: equal to one at a time, in order, and one bad text harms no other."""

import warnings

import pytest
import torch

from architectures import ARCHITECTURES, Architecture, build, example, shared
from ligflow import Explainer, Flow, LigflowError, TextWarning
from ligflow.explainer.batching import by_length
from ligflow.explainer.example import Example
from ligflow.layer.interface import Captured
from ligflow.method.attention import ScoreTerms
from ligflow.paths.batch_projections import _form

pytestmark = pytest.mark.usefixtures("no_shape_checks")
SIZES = (5, 1, 8, 5, 2, 8)


def inputs_of(architecture: Architecture) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [{"input_ids": torch.randint(3, 60, (1, size), generator=generator)} for size in SIZES]


def same(ours: Flow, theirs: Flow, limit: float = 1e-5, ratio: bool = False) -> None:
    """Cells are the same to rounding, which a ratio correction amplifies: it divides by what is left."""
    assert (ours.tokens, ours.layers, ours.targets) == (theirs.tokens, theirs.layers, theirs.targets)
    for route in ours.routes:
        gap = (ours.tensors[route] - theirs.tensors[route]).abs().amax(1 if route == "u2z" else -1)
        scale = theirs.tensors[f"{route}.scale"]
        if ratio and route != "u2z":
            scale = scale * (theirs.tensors[route].abs().amax(-1) / scale).clamp(min=1) ** 2
        assert (gap <= limit * scale.clamp(min=float(scale.max()) / 10)).all(), route


@pytest.mark.parametrize(
    "name",
    ["bert", "llama", "gpt2", "gemma3_text", "albert", "mixtral", "t5", "modernbert", "mpnet", "falcon"],
)
@pytest.mark.parametrize("baseline", ["itb", "zero", "mean", "itb_zero_ratio"])
def test_many_equal_one_at_a_time(name: str, baseline: str) -> None:
    explainer, examples = shared(ARCHITECTURES[name]), inputs_of(ARCHITECTURES[name])[:4]
    settings = {
        "att_baseline": baseline, "layer_baseline": baseline, "mlp_baseline": "matched", "tol": 0.5,
        "quadrature": "gauss-legendre:5",
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flows = list(explainer.explain_many(examples, **settings))
        alone = [explainer.explain(one, **settings) for one in examples]
    assert [flow.meta["index"] for flow in flows] == list(range(len(examples)))
    for ours, theirs in zip(flows, alone, strict=True):
        limit = 1e-4 if name == "t5" else 1e-5  # T5 does not scale its scores, which feel float32
        same(ours, theirs, limit, ratio=baseline == "itb_zero_ratio")


def test_the_layers_of_each_text_are_shown_as_they_were_recorded() -> None:
    explainer, examples = Explainer(build(ARCHITECTURES["bert"])), inputs_of(ARCHITECTURES["bert"])
    seen: dict[int, list[int]] = {}

    def look(number: int, each: Example) -> None:
        seen[number] = [len(layer.hidden) for layer in each.layers]

    flows = list(explainer.explain_many_under(examples, [{"routes": "z2u"}], on_example=look))
    assert seen == {number: [size] * len(flows[0][0].layers) for number, size in enumerate(SIZES)}


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_the_size_of_a_batch_does_not_change_a_result(batch_size: int) -> None:
    explainer, examples = shared(ARCHITECTURES["llama"]), inputs_of(ARCHITECTURES["llama"])
    flows = explainer.explain_many(iter(examples), batch_size=batch_size)
    for ours, theirs in zip(flows, [explainer.explain(one) for one in examples], strict=True):
        same(ours, theirs)


def test_scales_that_differ_from_text_to_text_are_not_taken_for_one() -> None:
    def seen(tokens: int, scaling: float) -> Captured:
        return Captured(*(torch.randn(1, 2, tokens, 4) for _ in range(3)), ScoreTerms(scaling))

    assert _form([seen(1, 1.0), seen(3, 0.5), seen(5, 0.5)], 5, torch.float32).scaling == 0.5
    assert _form([seen(1, 0.3)], 1, torch.float32).scaling == 0.3  # which counts beside a sink
    with pytest.raises(LigflowError, match=r"scales the scores of these sentences by 0\.25 to 0\.5"):
        _form([seen(3, 0.25), seen(5, 0.5)], 5, torch.float32)


def test_layers_that_know_positions_go_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ligflow.recording.capabilities._is_positionwise", lambda *_: False)
    explainer, examples = Explainer(build(ARCHITECTURES["bert"])), inputs_of(ARCHITECTURES["bert"])
    whole = list(explainer.explain_many(examples))
    monkeypatch.undo()
    for ours, theirs in zip(
        whole, Explainer(build(ARCHITECTURES["bert"])).explain_many(examples), strict=True
    ):
        same(ours, theirs)


def test_a_bad_text_is_left_out_and_named() -> None:
    explainer = shared(ARCHITECTURES["bert"])
    examples = inputs_of(ARCHITECTURES["bert"])
    examples[2] = {"input_ids": torch.zeros(1, 0, dtype=torch.long)}
    examples[4] = {"input_ids": torch.full((1, 3), 999)}
    with pytest.warns(TextWarning) as said:
        flows = list(explainer.explain_many(examples))
    assert [flow.meta["index"] for flow in flows] == [0, 1, 3, 5]
    assert ["Text 2 is left out: The inputs hold no tokens" in str(one.message) for one in said] == [
        True,
        False,
    ]
    assert "Text 4 is left out" in str(said[1].message)


def test_a_baseline_that_fits_one_length_leaves_out_the_others() -> None:
    explainer, examples = shared(ARCHITECTURES["bert"]), inputs_of(ARCHITECTURES["bert"])
    with pytest.warns(TextWarning, match="does not fit"):
        flows = list(explainer.explain_many(examples, att_baseline=torch.zeros(5, 32), routes=("z2u",)))
    assert [flow.meta["index"] for flow in flows] == [0, 3]


def test_settings_are_checked_before_any_work() -> None:
    explainer = shared(ARCHITECTURES["bert"])
    with pytest.raises(LigflowError, match="Unknown att_baseline"):
        explainer.explain_many([], att_baseline="nothing")
    with pytest.raises(LigflowError, match="batch_size is 0"):
        explainer.explain_many([], batch_size=0)
    with pytest.raises(LigflowError, match="Several texts are expected"):
        explainer.explain_many("one text")
    with pytest.raises(TypeError):
        explainer.explain_many([], colour="blue")
    assert list(explainer.explain_many([])) == []


def test_progress_counts_texts() -> None:
    seen: list[tuple[int, int]] = []
    explainer, examples = shared(ARCHITECTURES["bert"]), inputs_of(ARCHITECTURES["bert"])
    list(explainer.explain_many(examples, progress=lambda *now: seen.append(now)))
    assert seen == [(3, 6), (6, 6)]  # six texts together, through two layers
    seen.clear()
    list(explainer.explain_many(iter(examples), batch_size=2, progress=lambda *now: seen.append(now)))
    assert seen == [(n + 1, 0) for n in range(6)]
    seen.clear()
    bad = {"input_ids": torch.zeros(1, 0, dtype=torch.long)}
    mixed = [examples[0], bad, *examples[1:3]]
    list(explainer.explain_many(mixed, progress=lambda *now: seen.append(now), left_out=lambda *_: None))
    assert seen[0][1] == 4
    assert seen[-1] == (4, 4)


def test_groups_are_of_similar_length() -> None:
    lengths = dict(enumerate((300, 10, 12, 11, 400, 10)))
    assert by_length(lengths, None, "cpu") == [[1, 5, 3, 2], [0], [4]]
    assert by_length(lengths, 2, "cpu") == [[1, 5], [3, 2], [0, 4]]
    assert by_length(lengths, None, "cuda") == [[1, 5, 3, 2, 0, 4]]


def test_variants_equal_single_explanations_and_share_their_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from ligflow.routes import explain_map, integration

    explainer, inputs = shared(ARCHITECTURES["bert"]), example(ARCHITECTURES["bert"], 6)
    variants = [
        {"att_baseline": att, "mlp_baseline": mlp, "layer_baseline": layer}
        for att in ("zero", "itb", "itb_zero_ratio", "itb_map_ratio")
        for mlp in ("zero", "att_itb_a0")
        for layer in ("zero", "itb", "itb_zero_ratio")
    ]
    counted: list[object] = []
    own = integration.attribute
    monkeypatch.setattr(explain_map, "attribute", lambda *a, **k: counted.append(a[0]) or own(*a, **k))
    flows = explainer.explain_under(inputs, variants)
    assert len(flows) == 24
    assert len(counted) == 2 * 6  # two layers: 2 paths of each route
    for flow, variant in zip(flows[::5], variants[::5], strict=True):
        same(flow, explainer.explain(inputs, **variant))
    with pytest.raises(LigflowError, match="at least one mapping"):
        explainer.explain_under(inputs, [])


# --- several texts under several settings ---------------------------------------------------------


VARIANTS = [
    {"routes": "z2u", "att_baseline": "itb_zero_ratio"},
    {"routes": "u2z", "mlp_baseline": "zero"},
    {"routes": "z2z", "layer_baseline": "zero", "tol": 1e-2},
]


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_many_under_several_settings_equal_one_at_a_time(batch_size: int | None) -> None:
    explainer, examples = shared(ARCHITECTURES["bert"]), inputs_of(ARCHITECTURES["bert"])
    found = list(explainer.explain_many_under(examples, VARIANTS, batch_size=batch_size))
    assert [[flow.meta["index"] for flow in flows] for flows in found] == [[n] * 3 for n in range(len(SIZES))]
    for flows, one in zip(found, examples, strict=True):
        for ours, theirs in zip(flows, explainer.explain_under(one, VARIANTS), strict=True):
            assert ours.routes == theirs.routes
            same(ours, theirs)


def test_texts_that_are_left_out_are_told() -> None:
    explainer, told = shared(ARCHITECTURES["bert"]), []
    examples: list[dict[str, torch.Tensor]] = [
        {"input_ids": torch.tensor([[5, 6]])}, {}, {"input_ids": torch.tensor([[7]])}
    ]  # fmt: skip
    flows = explainer.explain_many_under(
        examples, VARIANTS, left_out=lambda number, text, error: told.append((number, text, str(error)))
    )
    assert [of_one[0].meta["index"] for of_one in flows] == [0, 2]
    ((number, text, reason),) = told
    assert (number, text) == (1, {})
    assert "inputs are empty" in reason


def test_no_settings_are_refused_before_the_first_text() -> None:
    explainer = shared(ARCHITECTURES["bert"])
    with pytest.raises(LigflowError, match="No settings"):
        explainer.explain_many_under([], [])
    with pytest.raises(LigflowError, match="Several texts"):
        explainer.explain_many_under("one", VARIANTS)
