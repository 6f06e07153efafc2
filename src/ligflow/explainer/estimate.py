"""How long an explanation will take and how much memory, from some of its layers."""

from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Unpack

from ligflow.devices.peak_memory import peak_memory
from ligflow.devices.precision import exact_mode
from ligflow.explainer.assembly import assemble
from ligflow.explainer.computation import compute
from ligflow.inputs.checks import Inputs
from ligflow.inputs.token_names import Layers, Names, layer_positions
from ligflow.progress import duration_in_words, size_in_words
from ligflow.settings import SettingsOptions

if TYPE_CHECKING:
    from ligflow.explainer.explainer import Explainer

_PART, _LEAST = 6, 3  # every sixth layer is measured, and three at the least


@dataclass(frozen=True)
class Estimate:
    """What a call will take: `seconds`, besides what it takes once for a model, and bytes at the most.

    `preparing` are the seconds that the first call of an explainer takes more, in which layers are held
    against the model's own run. `peak_bytes` is the resident set of the process with all that it holds, or a
    GPU's memory where the model is on one. Of `total` `units` (layers) as many as `measured` were run.
    """

    seconds: float
    preparing: float
    peak_bytes: int
    measured: int
    total: int
    units: str = "layers"

    def __str__(self) -> str:
        """In a line."""
        first = f" and {duration_in_words(self.preparing)} once for the model" if self.preparing > 1 else ""
        return (
            f"about {duration_in_words(self.seconds)}{first}, {size_in_words(self.peak_bytes)} at the most; "
            f"{self.measured} of {self.total} {self.units} were measured"
        )


def spread(count: int) -> list[int]:
    """The numbers of some layers of `count`: the middles of as many parts."""
    some = min(count, max(_LEAST, -(-count // _PART)))
    return [int((number + 0.5) * count / some) for number in range(some)]


def estimate(
    explainer: "Explainer",
    inputs: Inputs,
    layers: Layers | None = None,
    targets: Names | None = None,
    truncate: bool = False,
    **options: Unpack[SettingsOptions],
) -> Estimate:
    """What `explain` of the same arguments will take, from a sixth of its layers, at least three of them.

    With `r` the seconds of the model's run, `v` those of holding a layer against it, `c` those of a layer's
    maps (means of the layers that are measured), of `n` layers: `seconds = r + n c`, `preparing = n v`.
    Layers that are not measured may need more points of the path, or fewer. Raises LigflowError as `explain`
    does.
    """
    settings, model = explainer._settings(**options), explainer.prepared
    count, _ = model.size(inputs, truncate)
    every = layer_positions(layers, count)
    # starts that are carried come from the layer before
    chosen = every[: len(spread(len(every)))] if settings.carried else [every[n] for n in spread(len(every))]
    with exact_mode(model.home, settings.precision), peak_memory(model.home) as peak:
        encoded, marks = model.encode(inputs, truncate), [perf_counter()]
        model.example(encoded, settings.routes, chosen, targets)
        marks.append(perf_counter())
        example = model.example(encoded, settings.routes, chosen, targets)
        marks.append(perf_counter())
        ((results,),) = compute([example], [settings])
        marks.append(perf_counter())
        flow = assemble(example, results, settings)
    first, run, work = (later - before for before, later in pairwise(marks))
    share, rest = len(every) / len(chosen), len(every) - len(chosen)
    kept = sum(tensor.nbytes for tensor in flow.tensors.values()) * (share - 1)
    recorded = rest * example.layers[0].hidden.nbytes
    return Estimate(
        seconds=run + share * work,
        preparing=share * max(first - run, 0),
        peak_bytes=int((peak.device or peak.process + kept) + recorded),
        measured=len(chosen),
        total=len(every),
    )
