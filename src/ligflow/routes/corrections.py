"""Corrections of an `itb` row, which has no self term: `itb_zero_ratio` and `itb_map_ratio`."""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.errors import UnsupportedModel
from ligflow.layer.layer import Layer
from ligflow.method.attention import attention_weights
from ligflow.method.baselines import Baseline
from ligflow.method.ratio_corrections import map_ratio, self_share, zero_ratio
from ligflow.routes.attribution import Attribution
from ligflow.routes.workspace import Workspace

_RATIOS = ("itb_zero_ratio", "itb_map_ratio")


def uncorrected(baseline: Baseline) -> Baseline:
    """The baseline whose row is corrected: `itb` for a ratio, any other as it is."""
    return "itb" if isinstance(baseline, str) and baseline in _RATIOS else baseline


def with_correction(run: Callable[[Baseline], Attribution], name: Baseline, work: Workspace) -> Attribution:
    """What `run` gives from the baseline `name`, corrected where that is a ratio.

    The row keeps its sum, and so its certificate; that of `zero` adds its errors.
    """
    itb, columns = run(uncorrected(name)), work.batch.columns(work.rows)
    if isinstance(name, Tensor) or name not in _RATIOS:
        return itb
    if name == "itb_map_ratio":
        return replace(itb, value=map_ratio(itb.value, _weights_of_targets(work), columns))
    zero = run("zero")
    return replace(
        itb,
        value=zero_ratio(itb.value, zero.value, columns),
        error=itb.error + zero.error,
        met=itb.met & zero.met,
        nodes=itb.nodes + zero.nodes,
        origin=zero.origin,
        flipped=self_share(zero.value, columns) > 1,
        jump=None if itb.jump is None or zero.jump is None else itb.jump + zero.jump,
    )


def model_attention(layer: Layer, targets: Int[Tensor, " target"]) -> Float[Tensor, "target head source"]:
    """The model's own attention weights `alpha_jk` on the real input.

    Raises UnsupportedModel for a layer that has none from token to token.
    """
    with torch.no_grad():
        captured = layer.capture(layer.hidden[None])
        if layer.calls or captured.key.shape[2] != len(layer.hidden):
            raise UnsupportedModel(
                f"Layer {layer.index} has no attention weights from token to token: {layer.findings.reason}."
            )
        weights = attention_weights(captured.query, captured.key, captured.form)
        return weights.p[0].transpose(0, 1)[targets]


def _weights_of_targets(work: Workspace) -> Float[Tensor, "row head source"]:
    """The attention weights of all targets, 0 at the sources that fill up a short sentence."""
    rows = []
    for layer, selection in zip(work.batch.layers, work.selections, strict=True):
        alpha = model_attention(layer, selection.targets)
        rows.append(torch.nn.functional.pad(alpha, (0, work.batch.tokens - alpha.shape[-1])))
    return torch.cat(rows)
