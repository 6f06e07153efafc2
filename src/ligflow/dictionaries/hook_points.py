"""Where in a model a dictionary stands: names of TransformerLens, and of the model's own modules."""

import re
from dataclasses import dataclass, replace
from typing import Literal

from ligflow.errors import LigflowError

Kind = Literal[
    "before", "middle", "after", "attention", "heads", "mlp", "first norm", "second norm", "module"
]

_BLOCK = re.compile(r"blocks\.(\d{1,6})\.(.+)", re.ASCII)
_IN_BLOCK: dict[str, Kind] = {
    "hook_resid_pre": "before",
    "hook_resid_mid": "middle",
    "hook_resid_post": "after",
    "hook_attn_out": "attention",
    "attn.hook_z": "heads",
    "hook_mlp_out": "mlp",
    "ln1.hook_normalized": "first norm",
    "ln2.hook_normalized": "second norm",
}
_MODULE = re.compile(r"[^\W\d]\w*(\.\w+)*(:input|:output)?", re.ASCII)


@dataclass(frozen=True)
class HookPoint:
    """A vector of each token: a part of the residual stream of a layer, or what a module takes or gives.

    - `before`, `middle`, `after`: the residual stream before a layer, after its attention, and after it;
    - `attention`, `mlp`: what these add to it, past their norms where they have some;
    - `heads`: what all heads give, joined, before their projection;
    - `first norm`, `second norm`: what the norms before attention and MLP give, without their weights;
    - `module`: what a module, by its name in the model, takes (`end` is `input`) or gives.
    """

    name: str
    kind: Kind
    layer: int | None = None
    module: str = ""
    end: Literal["input", "output"] = "output"

    @property
    def taken(self) -> "HookPoint":
        """What the same module takes."""
        return replace(self, name=f"{self.module}:input", end="input")


def hook_point(name: str) -> HookPoint:
    """The place of a name: `blocks.5.hook_resid_post`, `model.layers.5.mlp`, `model.layers.5.mlp:input`.

    Raises LigflowError for a name that is none of these.
    """
    if match := _BLOCK.fullmatch(name):
        kind = _IN_BLOCK.get(match[2])
        if kind is not None:
            return HookPoint(name, kind, int(match[1]))
    elif _MODULE.fullmatch(name) and "hook_" not in name:
        module, _, end = name.partition(":")
        return HookPoint(name, "module", None, module, "input" if end == "input" else "output")
    raise LigflowError(
        f"The hook point {name!r} is none that is known. Of layer 5 there are "
        f"{', '.join(f'blocks.5.{known}' for known in _IN_BLOCK)}; or name a module of the model, "
        "'model.layers.5.mlp' for what it gives, 'model.layers.5.mlp:input' for what it takes."
    )
