"""What validation found about a layer: how it may be explained, and how it is replayed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import nn

from ligflow.layer.projections import ClosedForm, on_copy
from ligflow.layer.windows import Windows

Mode = Literal["split", "coupled", "whole"]


@dataclass(frozen=True, eq=False)
class Findings:
    """How a layer may be explained, and how it is replayed. Layers of one kind share them.

    The `mode` says what its attention is to the engine, and `reason` why it is not `split`:

    - `split`: every token has a query, a key and a value of its own; z2u, u2z and z2z are integrated;
    - `coupled`: one map of all hidden states, differentiated by plain autograd; u2z is integrated;
    - `whole`: it cannot be taken out of the layer, which has z2z alone, by plain autograd.

    How it is replayed:

    - `as_loaded`: its eager attention is not what the model runs, so that what is not split is replayed
      under the implementation that the model was loaded with;
    - `one_by_one`: it takes one example at a time;
    - `tiled`: the arguments to be repeated for each example, e.g. where heads and examples share an axis;
    - `windows`: the parts of the tokens that its attention sees, where it does not see all at once;
    - `memory`: the argument that holds the encoder's states e, where a second attention takes them, and
      `cross_heads`, its heads;
    - `shared_keys`: its keys and values are given to it, as another layer made them, so that its own hidden
      states move its queries alone;
    - `choices`: how often it chooses among experts for each of its tokens.

    What makes it fast:

    - `projections`: the modules (and output sizes) that only feed attention;
    - `positionwise`: what follows attention knows no positions, and `any_length`: nor how many tokens there
      are, so that it runs on a few of them alone;
    - `closed_form`: how projections are made, or `no_closed_form`: why that is not known;
    - `repeats`: it gives its recorded output again, to rounding;
    - `cost`: how many numbers a token keeps in memory while it is differentiated after its attention.
    """

    mode: Mode = "split"
    reason: str = ""
    as_loaded: bool = False
    one_by_one: bool = False
    tiled: tuple[str, ...] = ()
    windows: Windows | None = None
    memory: str = ""
    cross_heads: int = 0
    shared_keys: bool = False
    choices: int = 0
    projections: Mapping[nn.Module, int] = field(default_factory=dict)
    positionwise: bool = False
    any_length: bool = False
    closed_form: ClosedForm | None = None
    no_closed_form: str = ""
    repeats: bool = False
    cost: int = 0

    def on_copy(self, copies: Mapping[nn.Module, nn.Module]) -> "Findings":
        """These findings about a copy of the layer's modules."""
        return replace(
            self,
            projections={copies[part]: width for part, width in self.projections.items()},
            closed_form=on_copy(self.closed_form, copies) if self.closed_form else None,
        )

    def on(self, device: torch.device) -> "Findings":
        """These findings with their tensors on a device."""
        return replace(self, windows=self.windows and self.windows.on(device))
