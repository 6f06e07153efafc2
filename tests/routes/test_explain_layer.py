"""One layer under settings: padding, subsets, baselines, one token."""

import pytest
import torch

from architectures import ARCHITECTURES, example, shared


@pytest.mark.parametrize("name", ["bert", "llama", "albert"])
def test_padding_does_not_change_a_result(name: str) -> None:
    architecture = ARCHITECTURES[name]
    explainer = shared(architecture)
    padded = example(architecture, 6, padding=4)
    bare = {key: value[:, :6] for key, value in padded.items()}
    for baseline in ("itb", "zero", "mean"):
        settings = {"att_baseline": baseline, "layer_baseline": baseline, "mlp_baseline": "matched"}
        ours, theirs = explainer.explain(padded, **settings), explainer.explain(bare, **settings)
        assert len(ours.tokens) == 6
        for name_ in ("z2u", "u2z", "u2z_residual", "z2z"):
            scale = float(theirs.tensors[name_].abs().max()) or 1.0
            torch.testing.assert_close(
                ours.tensors[name_], theirs.tensors[name_], rtol=1e-3, atol=1e-4 * scale
            )


def test_subsets_of_targets_and_layers_are_rows_of_the_whole() -> None:
    architecture = ARCHITECTURES["gemma3_text"]
    explainer = shared(architecture)
    whole = explainer.explain(example(architecture, 7))
    part = explainer.explain(example(architecture, 7), layers=[-1], targets=[5, 2])
    assert part.targets == (2, 5)
    assert part.layers == (1,)
    for route, index in (("z2u", (slice(1, 2), slice(None), [2, 5])), ("z2z", (slice(1, 2), [2, 5]))):
        torch.testing.assert_close(part.tensors[route], whole.tensors[route][index], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(part.composed(), whole.composed()[1:2, [2, 5]], rtol=1e-4, atol=1e-5)


def test_a_tensor_baseline_of_zeros_is_the_zero_baseline() -> None:
    architecture = ARCHITECTURES["bert"]
    explainer = shared(architecture)
    named = explainer.explain(
        example(architecture, 5), att_baseline="zero", layer_baseline="zero", mlp_baseline="zero"
    )
    given = explainer.explain(
        example(architecture, 5), att_baseline=torch.zeros(32), layer_baseline=torch.zeros(5, 32),
        mlp_baseline=torch.zeros(4, 8),
    )  # fmt: skip
    for route in ("z2u", "u2z", "z2z"):
        torch.testing.assert_close(named.tensors[route], given.tensors[route], rtol=1e-4, atol=1e-5)


def test_one_token_has_nothing_to_attribute_under_itb() -> None:
    for name in ("bert", "llama", "gpt2"):
        flow = shared(ARCHITECTURES[name]).explain(
            example(ARCHITECTURES[name], 1), att_baseline="itb_zero_ratio", layer_baseline="itb_zero_ratio"
        )
        assert flow.z2z.abs().max() == 0
        assert flow.z2u.abs().max() == 0
        assert not flow.unmet
        assert torch.isfinite(flow.certificate("z2z")).all()
