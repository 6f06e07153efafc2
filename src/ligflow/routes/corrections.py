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
from ligflow.method.ratio_corrections import with_self_share
from ligflow.routes.attribution import Attribution
from ligflow.routes.by_head import HeadParts
from ligflow.routes.workspace import Workspace


def with_correction(
    run: Callable[[Baseline], Attribution], baseline: Baseline, work: Workspace
) -> Attribution:
    """What `run` gives from the path of a baseline, corrected where that is a ratio.

    The row keeps its sum, and so its certificate; that of the row it is corrected by adds its errors.
    """
    row, correction, columns = run(baseline.path), baseline.correction, work.batch.columns(work.rows)
    if correction is None:
        return row
    if correction.reference is None:
        share = correction.self_share(_weights_of_targets(work), columns)
        return replace(
            row,
            value=with_self_share(row.value, share, columns),
            parts=_parts_with_self_share(row.parts, share, columns),
            heads=_heads_with_self_share(row, share, columns),
        )
    reference = run(correction.reference)
    share = correction.self_share(reference.value, columns)
    return replace(
        row,
        value=with_self_share(row.value, share, columns),
        parts=_parts_with_self_share(row.parts, share, columns),
        heads=_heads_with_self_share(row, share, columns, reference.error),
        error=row.error + reference.error,
        met=row.met & reference.met,
        nodes=row.nodes + reference.nodes,
        origin=reference.origin,
        flipped=share > 1,
        jump=None if row.jump is None or reference.jump is None else row.jump + reference.jump,
    )


def _parts_with_self_share(
    parts: Tensor | None, share: Float[Tensor, "row head"], columns: Int[Tensor, " row"]
) -> Tensor | None:
    """Each part of a row corrected as the row is: the target has the same share of all, and each its sum."""
    if parts is None:
        return None
    own = columns.reshape(-1, 1, 1, 1).expand(*parts.shape[:-1], 1)
    others = parts * (1 - share)[..., None, None]
    return others.scatter_add(-1, own, (share[..., None] * parts.sum(-1))[..., None])


def _heads_with_self_share(
    row: Attribution, share: Tensor, columns: Tensor, more: Float[Tensor, "row one"] | None = None
) -> HeadParts | None:
    """z2z by head, corrected likewise; `more` is the error of the row that it is corrected by."""
    if row.heads is None:
        return None
    heads = row.heads.with_self_share(share[:, 0], columns)
    if more is None:
        return heads
    sums = heads.heads.sum(-1).abs().sum((1, 2)) / row.scale[:, 0]
    return replace(heads, error=heads.error + more[:, 0] * sums.clamp(min=1))


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
