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
    """How a layer makes its queries, keys and values, and the rotations of its keys by number of tokens.

    `probed` are the modules, with their output sizes, whose outputs go to the positions.
    """

    forms: Mapping[str, ProjectionForm]
    probed: Mapping[nn.Module, int]
    rotations: dict[int, tuple[list[Tensor], Rotation | None]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What was recognised, for metadata and tables."""
        rotated = any(rotation is not None for _, rotation in self.rotations.values())
        return self.forms["key"].name + (", rotary" if rotated else "")


def on_copy(closed_form: ClosedForm, copies: Mapping[nn.Module, nn.Module]) -> ClosedForm:
    """A closed form for a copy of the layer's modules."""

    def norm(of: Norm | None) -> Norm | None:
        return None if of is None else replace(of, module=copies[of.module])

    forms = {
        part: replace(form, before=norm(form.before), after=norm(form.after))
        for part, form in closed_form.forms.items()
    }
    return ClosedForm(forms, {copies[module]: width for module, width in closed_form.probed.items()})
