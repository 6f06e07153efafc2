"""A segment of a model between two cuts: a map of some path variables to others, for a batch of points."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ligflow.prediction.path_variable import Values, Variable


@dataclass(frozen=True, eq=False)
class Segment:
    """`F: sources -> images`, run for a batch of points; `tokenwise` if no token depends on another.

    `start` is the level of the quadrature that it begins with: 0 for what may be affine, which is looked at.
    Points up to the level `ahead` go through it at once, as one of its kind needed them; it stops as before.
    `implementation` is the attention that the model is to have meanwhile. Where examples are not `apart`, all
    of several go through it together. `module` is the layer that it is a part of, where it is one. `choices`
    are the rows of scores among which one run for one point chooses, call by call: where experts change on
    the path, it jumps. `held` names what of the layer is held at the input. `few` is known of one that reads
    its source at few tokens alone. `products` are what its matrices gave in the reference run.
    """

    name: str
    layer: int | None
    kind: str
    sources: tuple[str, ...]
    images: tuple[str, ...]
    run: Callable[[Values], Values]
    tokenwise: bool = False
    start: int = 2
    implementation: str | None = None
    apart: bool = True
    module: nn.Module | None = None
    choices: tuple[int, ...] = ()
    held: str = ""
    few: "FewTokens | None" = None
    ahead: int = 0
    products: "Products | None" = None


@dataclass(frozen=True, eq=False)
class Products:
    """What matrices of a layer gave where a variable was `at`, by module.

    `entrance` is the module that takes the variable itself, where that is known.
    """

    at: Float[Tensor, "token *own"]
    by_module: Mapping[nn.Module, Float[Tensor, "1 token _"]]
    entrance: nn.Module | None = None

    def of(self, modules: Sequence[nn.Module]) -> Float[Tensor, "1 token widths"] | None:
        """Those of some modules side by side; None where one is missing."""
        products = [self.by_module[module] for module in modules if module in self.by_module]
        return torch.cat(products, dim=-1) if len(products) == len(modules) else None


@dataclass(frozen=True, eq=False)
class FewTokens:
    """The tokens at which alone a segment reads its source, and what it computes from these.

    `numbers` are what `module` makes of their vectors, the same for all rows (logits), and each of `images`
    makes the image of one row of them.
    """

    places: Int[Tensor, "row place"]
    module: nn.Module
    numbers: Callable[[Tensor], Tensor]
    images: tuple[Callable[[Tensor], Tensor], ...]

    def segment(self, whole: Segment) -> Segment:
        """The segment from these tokens to the image of the whole one."""
        (source,), (image,), count = whole.sources, whole.images, len(self.images)

        def run(values: Values) -> dict[str, Tensor]:
            numbers = self.numbers(values[source])
            rows = [of(numbers[row::count].double()) for row, of in enumerate(self.images)]
            return {image: torch.stack(rows, 1).flatten(0, 1)}

        return replace(whole, kind="head", run=run, module=self.module, few=None)

    def variable(self, whole: Variable) -> Variable:
        """The source at these tokens."""
        real, reference = (
            end[_rows(end), self.places] if whole.rows else end[self.places[0]]
            for end in (whole.real, whole.reference)
        )
        return replace(whole, real=real, reference=reference, offset=0)

    def among(self, few: Float[Tensor, "row place *own"], tokens: int) -> Float[Tensor, "row token *own"]:
        """Numbers of these tokens among those of all, 0 for the others."""
        every = few.new_zeros(len(few), tokens, *few.shape[2:])
        every[_rows(few), self.places] = few
        return every

    def only(self, rows: Tensor) -> "FewTokens":
        """Those of some of several examples."""
        numbers = torch.arange(len(self.images))[rows].tolist()  # rows are a mask, or numbers
        images = tuple(self.images[number] for number in numbers)
        return replace(self, places=self.places[rows], images=images)

    @staticmethod
    def joined(several: "Sequence[FewTokens]") -> "FewTokens":
        """Those of several examples of one model, a row each."""
        places = torch.cat([few.places for few in several])
        return replace(several[0], places=places, images=tuple(of for few in several for of in few.images))


def _rows(tensor: Tensor) -> Int[Tensor, "row 1"]:
    return torch.arange(len(tensor), device=tensor.device)[:, None]
