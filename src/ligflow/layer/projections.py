"""How a layer makes its queries, keys and values, as far as it was recognised: plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from ligflow.method.rotary import Rotation


@dataclass(frozen=True, eq=False)
class Norm:
    """A norm module: whether it takes off the mean, its epsilon, and where its input keeps the tokens."""

    module: nn.Module
    centred: bool
    eps: float
    tokens_first: bool = True
    by_group: bool = False


@dataclass(frozen=True, eq=False)
class ProjectionForm:
    """How a projection is made: a norm of the hidden states, an affine map, a norm of its own."""

    before: Norm | None
    after: Norm | None
    shifted: bool

    @property
    def name(self) -> str:
        """For people: 'affine', 'norm, affine', 'norm, affine, norm'."""
        return ("norm, " if self.before else "") + "affine" + (", norm" if self.after else "")


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """The recipes of a layer's projections, and the turns of its keys by number of tokens.

    `probed` are the modules, with their output sizes, whose outputs go to the positions.
    """

    recipes: Mapping[str, ProjectionForm]
    probed: Mapping[nn.Module, int]
    turns: dict[int, tuple[list[Tensor], Rotation | None]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What was recognised, for metadata and tables."""
        turns = any(turn is not None for _, turn in self.turns.values())
        return self.recipes["key"].name + (", rotary" if turns else "")


def on_copy(shortcut: ClosedForm, copies: Mapping[nn.Module, nn.Module]) -> ClosedForm:
    """The same shortcut for a copy of the layer's modules."""

    def norm(of: Norm | None) -> Norm | None:
        return None if of is None else replace(of, module=copies[of.module])

    recipes = {
        part: replace(recipe, before=norm(recipe.before), after=norm(recipe.after))
        for part, recipe in shortcut.recipes.items()
    }
    return ClosedForm(recipes, {copies[module]: width for module, width in shortcut.probed.items()})
