"""The last projections of an MLP, seen as it runs: what they are applied to are its hidden units.

A projection is a product of what depends on the MLP's input with a weight that does not (see
`ligflow.layer.weight_products`). It is a last one where no other projection takes what it gives.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ligflow.layer.weight_products import OnProjections, Projection, made_by


def last_projections(run: Callable[[], Tensor]) -> tuple[Tensor, list[Projection]]:
    """What a run gives, with the last projections on its way, those that give vectors of its width."""
    with torch.enable_grad(), OnProjections() as on_projections:
        image = run()
    below = made_by([projection.units for projection in on_projections.noted])
    last = [projection for projection in on_projections.noted if projection.output.grad_fn not in below]
    return image, [projection for projection in last if projection.output.shape[-1] == image.shape[-1]]


def gradients_at(image: Tensor, projections: Sequence[Projection], towards: Tensor) -> list[Tensor]:
    """`∂(m . image)/∂o` of what each projection gives; zeros where the image does not depend on it."""
    outputs = [projection.output for projection in projections]
    pulled = torch.autograd.grad(image, outputs, towards, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(o) if g is None else g for o, g in zip(outputs, pulled, strict=True)]
