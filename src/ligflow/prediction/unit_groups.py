"""Where weights stand among the parameters of a layer, and the axis of all hidden units with their names."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from torch import Tensor, nn

from ligflow.errors import UnsupportedModel


@dataclass(frozen=True)
class WeightPlace:
    """A parameter by its name; `expert` says which slice of it, where it holds those of all experts."""

    name: str
    expert: int | None = None


@dataclass(frozen=True)
class UnitGroup:
    """Hidden units that go through one weight, or the output bias of one expert: a name and a size."""

    name: str
    size: int


@dataclass(frozen=True, eq=False)
class UnitAxis:
    """The hidden units of an MLP one weight after another, then the output biases of experts.

    `first` says where the units of a weight begin, `biases` where the output bias of an expert stands.
    `gated` are the weights whose units come times a gate: those of experts, and others that gates change.
    """

    groups: tuple[UnitGroup, ...]
    first: Mapping[WeightPlace, int]
    biases: Mapping[WeightPlace, int]
    gated: Collection[WeightPlace]

    @property
    def size(self) -> int:
        """The number of all."""
        return sum(group.size for group in self.groups)


def unit_axis(
    sizes: Mapping[WeightPlace, int],
    gated: Collection[WeightPlace],
    biased: Collection[WeightPlace],
    module: nn.Module,
) -> UnitAxis:
    """The axis for weights of which so many units were seen, with experts that were not seen beside them.

    Output biases count where gates change them: those of `biased` weights that are `gated` or experts'.
    """
    every: dict[WeightPlace, int] = {}
    biases: list[WeightPlace] = []
    experts: dict[WeightPlace, int] = {}
    for place, size in sizes.items():
        like = weights_like(place, module)
        every |= dict.fromkeys(like or (place,), size)
        experts |= like if len(like) > 1 else {}
        if place in biased and (place in gated or place in experts):
            biases += like or [place]
    names = dict(zip(every, called([*every], experts), strict=True))
    behind = dict.fromkeys(biases)
    groups = [UnitGroup(names[place], size) for place, size in every.items()]
    groups += [UnitGroup(f"{names[place]}, output bias".removeprefix(", "), 1) for place in behind]
    starts = accumulate((group.size for group in groups), initial=0)
    first = dict(zip([*every, *((place, "bias") for place in behind)], starts, strict=False))
    return UnitAxis(
        tuple(groups),
        {place: first[place] for place in every},
        {place: first[place, "bias"] for place in behind},
        {*gated, *experts},
    )


def place_of(weight: Tensor, module: nn.Module) -> WeightPlace:
    """The parameter that a weight is, or is a part of, in memory.

    Raises UnsupportedModel where it is none.
    """
    for name, parameter in module.named_parameters():
        ahead = weight.data_ptr() - parameter.data_ptr()
        if weight.device != parameter.device or not 0 <= ahead < parameter.numel() * parameter.element_size():
            continue
        whole = parameter.ndim != 3 or weight.ndim == 3
        return WeightPlace(name, None if whole else ahead // (parameter.stride(0) * parameter.element_size()))
    raise UnsupportedModel("the weights of its last projection are no parameters of the layer")


def weights_like(place: WeightPlace, module: nn.Module) -> dict[WeightPlace, int]:
    """All weights that stand beside one as those of other experts do, with the numbers of the experts.

    Experts are slices of one parameter, or modules with a number in a list or by name; none where a weight
    stands alone.
    """
    parameters = dict(module.named_parameters())
    own = parameters[place.name]
    if own.ndim == 3:
        return {WeightPlace(place.name, expert): expert for expert in range(len(own))}
    path = place.name.split(".")
    for depth, part in enumerate(path):
        container = module.get_submodule(".".join(path[:depth]))
        if not isinstance(container, nn.ModuleList | nn.ModuleDict) or not (at := re.search(r"\d+$", part)):
            continue
        before = ".".join([*path[:depth], part[: at.start()]])
        after = ".".join(path[depth + 1 :])
        named = re.compile(rf"{re.escape(before)}(\d+)\.{re.escape(after)}")
        alike = [name for name, each in parameters.items() if each.shape == own.shape]
        numbers = {name: match[1] for name in alike if (match := named.fullmatch(name))}
        if len(numbers) > 1:
            return {WeightPlace(name): int(number) for name, number in numbers.items()}
    return {}


def called(places: Sequence[WeightPlace], experts: Mapping[WeightPlace, int]) -> list[str]:
    """What the units of weights are called: nothing where there is one, `expert 3`, `shared experts`."""
    if len(places) == 1:
        return [""]
    names = [f"expert {experts[place]}" if place in experts else _module(place) for place in places]
    if len({*names}) == len(names):
        return names
    return [place.name + ("" if place.expert is None else f"[{place.expert}]") for place in places]


def _module(place: WeightPlace) -> str:
    """The module that holds a projection: `shared experts` of mlp.shared_experts.down_proj.weight."""
    modules = place.name.split(".")[:-1]
    return modules[-2 if len(modules) > 1 else -1].replace("_", " ") if modules else place.name
