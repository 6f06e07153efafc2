"""True errors of cells: the adaptive rule against the fine one, which shares no node or estimate with it.

    python benchmarks/cell_errors.py [--quick] [--only MiniLM --only "tiny types"]

The fine rule (`quadrature="fine"`) halves equal panels until each agrees with its halves to a thousandth of
the tolerance; targets whose fine value is not that sure are left out and counted. Errors are those of
single cells over the row's scale, in tolerances; points are the mean of a target. With `--only` the other
rows of the file stay as they are.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

import measure
from ligflow import Explainer
from ligflow.layer.layer import Layer
from ligflow.method.integral import Integral
from ligflow.method.quadrature import Adaptive
from ligflow.routes.explain_layer import explain_layer
from ligflow.routes.workspace import Selection
from ligflow.settings import ROUTES, ask
from measure import Row, note, number, text

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from architectures import ARCHITECTURES, Architecture, build, example

TEXTS = (
    "The old lighthouse keeper counted the ships while the storm grew darker.",
    "Rivers rarely run straight, said the old map maker to his nephew.",
)
BASELINES = ("itb", "zero", "mean")
KINKS = ("opt", "t5")
TOL = 1e-3
OPENAI = Architecture(
    "OpenAIGPTModel",
    {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64, "n_positions": 40},
    causal=True,
)
Only = Annotated[list[str] | None, typer.Option(help="A row's name, repeatable; default: all rows.")]
COLUMNS: measure.Columns = {
    "what": text("what"),
    "cells": number("cells", "d"),
    "over 1": number("over_1", "d"),
    "over 2": number("over_2", "d"),
    "over 5": number("over_5", "d"),
    "worst": number("worst", ".2f"),
    "unmet": number("unmet", "d"),
    "unsure": number("unsure", "d"),
    "points": number("points", ".1f"),
}


@dataclass(frozen=True, eq=False)
class Found:
    """Both maps of some rows, the scale of their errors, and the points that each target took."""

    ours: Tensor
    exact: Tensor
    scale: Tensor
    met: Tensor
    sure: Tensor
    points: Tensor


def main(
    quick: bool = False, only: Only = None, threads: measure.Threads = None, out: measure.Out = None
) -> None:
    """Measure errors of cells of real and tiny models, of sharpened attention and of made-up integrands."""
    every = groups(quick)
    names = only or list(every)
    if unknown := set(names) - set(every):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}; known are: {'; '.join(every)}.")
    machine = measure.machine(measure.place("cpu", threads))
    settings = {"tol": TOL, "quick": quick, "texts": TEXTS}
    rows = [row for row in measure.rows_of("cell_errors", out, settings) if only and row["what"] not in only]
    caption = "Errors in tolerances, over the row's scale."
    for what in names:  # written row by row: all of them are an hour's work
        note(f"{what} ...")
        rows.append({"what": what, **summary(list(every[what]()))})
        rows.sort(key=lambda row: list(every).index(row["what"]))
        measure.report("cell_errors", out, machine, settings, rows, COLUMNS, caption)


def groups(quick: bool) -> Mapping[str, Callable[[], Iterator[Found]]]:
    """What is measured, by name."""
    sizes, seeds = ((6,), 3) if quick else ((2, 6, 9), 30)
    names = ["bert", "gpt2", "llama", "qwen3"] if quick else [n for n in ARCHITECTURES if n not in KINKS]
    texts, middle = TEXTS[: 1 if quick else 2], (3,) if quick else None
    found: dict[str, Callable[[], Iterator[Found]]] = {
        "MiniLM": lambda: of_texts("embedded:minilm", texts, middle),
        "tiny types": lambda: of_types(names, sizes),
        "tiny types, ReLU": lambda: of_types(KINKS[:1] if quick else KINKS, sizes[:2]),
        "two tokens from their mean": lambda: of_two_tokens(seeds),
    }
    if not quick:
        found["Gemma-3-270M"] = lambda: of_texts("embedded:gemma-3-270m", texts[:1], (0, 8, 17))
    for factor in (10, 30, 100):
        found[f"MiniLM, queries x{factor}"] = partial(of_texts, "embedded:minilm", texts[:1], (1,), factor)
    for name, made in INTEGRANDS.items():
        found[name] = partial(of_integrands, made, 50 if quick else 500)
    return found


def summary(found: Sequence[Found]) -> Row:
    """Counts of cells by their error, in rows that are met and whose fine value is sure."""
    errors = torch.cat([of_cells(one) for one in found])
    points = torch.cat([one.points.double() for one in found])
    over = {f"over_{limit}": int((errors > limit).sum()) for limit in (1, 2, 5)}
    unmet = sum(int((~one.met).sum()) for one in found)
    unsure = sum(int((~one.sure).sum()) for one in found)
    worst = float(errors.max())
    return {
        "cells": len(errors),
        **over,
        "worst": worst,
        "unmet": unmet,
        "unsure": unsure,
        "points": float(points.mean()),
    }


def of_cells(found: Found) -> Tensor:
    """Errors in tolerances."""
    off = (found.ours.double() - found.exact.double()).abs() / found.scale.double()[..., None] / TOL
    return off[found.met & found.sure].flatten()


# --- models ---------------------------------------------------------------------------------------


def of_texts(
    name: str, texts: Sequence[str], chosen: Sequence[int] | None, factor: float = 1
) -> Iterator[Found]:
    """A real model; `factor` multiplies its queries, so that attention switches sharply."""
    explainer = Explainer.from_pretrained(name)
    with torch.no_grad():
        for part, parameter in explainer.model.named_parameters():
            if factor != 1 and ".query." in part:
                parameter.mul_(factor)
    for sentence in texts:
        for layer in explainer.prepared.record(sentence):
            if chosen is None or layer.index in chosen:
                yield from of_layer(explainer, layer, BASELINES, ROUTES)


def of_types(names: Sequence[str], sizes: Sequence[int]) -> Iterator[Found]:
    """Tiny random models in float64; experts are held, since jumps of routers are no errors of a rule."""
    for name in names:
        architecture = ARCHITECTURES[name]
        explainer = Explainer(build(architecture, torch.float64))
        experts = "frozen" if architecture.experts else "routed"
        for tokens in sizes if architecture.inputs == "text" else (9,):
            for layer in explainer.prepared.record(example(architecture, tokens, 0, torch.float64)):
                yield from of_layer(explainer, layer, BASELINES, ROUTES, experts)


def of_two_tokens(seeds: int) -> Iterator[Found]:
    """Ends that are mirror images: u starts flat and may turn around, unseen by any sum."""
    for architecture in (ARCHITECTURES["bert"], ARCHITECTURES["gpt2"], OPENAI):
        for seed in range(seeds):
            explainer = Explainer(build(architecture, torch.float64, seed))
            for layer in explainer.prepared.record(example(architecture, 2, 0, torch.float64)):
                yield from of_layer(explainer, layer, ("mean",), ("z2u",))


def of_layer(
    explainer: Explainer,
    layer: Layer,
    baselines: Sequence[str],
    routes: Sequence[str],
    experts: str = "routed",
) -> Iterator[Found]:
    """All targets of a layer under both rules."""
    everyone = torch.arange(len(layer.hidden))
    place = Selection(everyone, everyone)
    for baseline in baselines:
        ours, exact = (
            ask(
                routes=tuple(routes), att_baseline=baseline, mlp_baseline="matched", layer_baseline=baseline,
                experts=experts, tol=TOL, quadrature=rule,
            )
            for rule in ("adaptive", "fine")
        )  # fmt: skip
        with explainer.prepared.ready_for(layer):
            rough, fine = (explain_layer(layer, settings, place) for settings in (ours, exact))
        for route, one in rough.items():
            sure = fine[route].error <= TOL / 5
            yield Found(one.value, fine[route].value, one.scale, one.met, sure, one.nodes)


# --- made-up integrands: what is drawn, and the exact integrals of the sources ------------------------

Made = Callable[[torch.Generator], tuple[Callable[[Tensor], Tensor], Tensor]]


def of_integrands(made: Made, count: int) -> Iterator[Found]:
    """Integrands whose integrals are known."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        values, exact = made(generator)
        total = exact.sum().reshape(1, 1)
        found: Integral = Adaptive().integrate(
            lambda a, _: values(a)[:, None, None],  # noqa: B023
            total,
            total.clone(),
        )
        sure = torch.ones_like(found.met)
        yield Found(found.value, exact[None, None], total, found.met, sure, found.nodes)


def drawn(generator: torch.Generator) -> tuple[float, float, float]:
    """A place, a width between 1e-3 and 0.3 on a scale of logarithms, and a share of the total."""
    place, width, share = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    return place, 10 ** (-3 + 2.5 * width), 0.1 + 0.9 * share


def rise(place: float, width: float, end: Tensor) -> Tensor:
    """A smooth step of height 1."""
    return (1 + torch.tanh((end - place) / width)) / 2


def slope(place: float, width: float, nodes: Tensor) -> Tensor:
    """The derivative of `rise`."""
    return torch.cosh(((nodes - place) / width).clamp(-300, 300)) ** -2 / (2 * width)


ENDS = torch.tensor([0.0, 1.0], dtype=torch.float64)


def transition(generator: torch.Generator) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """One source rises at a random place; another moves evenly."""
    place, width, share = drawn(generator)
    exact = torch.stack([share * rise(place, width, ENDS).diff()[0], torch.ones_like(ENDS[0])])
    return lambda a: torch.stack([share * slope(place, width, a), torch.ones_like(a)], dim=-1), exact


def cancelling(generator: torch.Generator) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Two sources whose transitions cancel in the sum."""
    place, width, share = drawn(generator)
    moved = share * rise(place, width, ENDS).diff()[0]
    exact = torch.stack([1 + moved, -moved])

    def values(a: Tensor) -> Tensor:
        moving = share * slope(place, width, a)
        return torch.stack([1 + moving, -moving], dim=-1)

    return values, exact


def kink(generator: torch.Generator) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A source that begins to move at a random place, beside an even one."""
    place, _, share = drawn(generator)
    exact = torch.tensor([share * (1 - place), 1.0], dtype=torch.float64)
    return lambda a: torch.stack([share * (a > place).to(a), torch.ones_like(a)], dim=-1), exact


def mirror(generator: torch.Generator) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Two sources that turn around together and cancel; many do it close to the start."""
    place, width, share = drawn(generator)
    place = min(place, width)
    exact = torch.tensor([share * (1 - 2 * place) + 1, share * (2 * place - 1)], dtype=torch.float64)

    def values(a: Tensor) -> Tensor:
        sign = share * torch.where(a < place, -1.0, 1.0).to(a)
        return torch.stack([sign + 2 * a, -sign], dim=-1)

    return values, exact


INTEGRANDS: Mapping[str, Made] = {
    "a transition": transition,
    "transitions that cancel": cancelling,
    "a kink": kink,
    "mirror images": mirror,
}


if __name__ == "__main__":
    measure.run(main)
