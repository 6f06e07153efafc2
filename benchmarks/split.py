"""How far composed maps are from the exact one, what passes the MLP, and what split costs.

    python benchmarks/split.py [--models embedded:minilm,...] [--repeats 3] [--tiny]

Of each layer the median over the targets of all sentences; of a model the median over layers, and the range.
Distances are relative in L1, `sum |composed - exact| / sum |exact|`, of paths with matched ends.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

import measure
from ligflow import Explainer, Flow
from ligflow.method.composition import shared_out
from measure import Row, note, text

COLUMNS: measure.Columns = {
    "model, baseline": text("what"),
    "composed, by token": text("composed"),
    "product, rescaled": text("product"),
    "heads as they are, shares composed": text("shares"),
    "composed, by head": text("heads"),
    "through the MLP": text("mlp"),
}
MEASURED = ("composed", "product", "shares", "heads", "mlp")
SENTENCES = (
    "The old lighthouse keeper counted the ships.",
    "When the rain stopped, the children who had waited inside ran to the river.",
    "She asked whether the letter that he wrote in March had ever been sent.",
    "Most of the bread was sold before the bakers themselves had eaten.",
)
BASELINES: dict[str, dict[str, Any]] = {
    "itb": {},
    "mean": {"att_baseline": "mean", "mlp_baseline": "matched", "layer_baseline": "mean"},
}
_STILL = 1e-3  # of the layer's median total: a target that moved by less has no composition to speak of


def main(
    models: str = "embedded:minilm,embedded:smollm2,embedded:gemma-3-270m",
    repeats: measure.Repeats = 3,
    threads: measure.Threads = 1,
    tiny: measure.Tiny = False,
    out: measure.Out = None,
) -> None:
    """Measure distances of composed maps, and what split costs."""
    machine = measure.machine(measure.place("cpu", threads))
    rows: list[Row] = []
    cost: dict[str, float] = {}
    for name in ["embedded:minilm"] if tiny else models.split(","):
        explainer = Explainer.from_pretrained(name)
        for baseline in BASELINES:
            note(f"{name}, {baseline} ...")
            rows.append({"what": f"{name}, {baseline}", **of_model(explainer, baseline, tiny)})
        cost |= {f"{name}, {what}": ratio for what, ratio in times(explainer, repeats, tiny).items()}
    said = ", ".join(f"{name} {ratio:.2f}" for name, ratio in cost.items())
    settings = {"repeats": repeats, "tiny": tiny, "times": cost}
    measure.report(
        "split", out, machine, settings, rows, COLUMNS,
        f"Medians over targets: of the median layer (of the least and the most). z2z with split takes, times "
        f"the CPU seconds without: {said}.",
    )  # fmt: skip


def of_model(explainer: Explainer, baseline: str, tiny: bool) -> Row:
    """What is measured of all layers, `by_layer`, and in words."""
    found = [
        distances(
            explainer.explain(sentence, layers=[0] if tiny else None, split=True, **BASELINES[baseline])
        )
        for sentence in SENTENCES[: 1 if tiny else None]
    ]
    by_layer = {
        name: [
            float(torch.cat([each[name][layer] for each in found]).median())
            for layer in range(len(found[0][name]))
        ]
        for name in MEASURED
    }
    return {name: in_words(by_layer[name]) for name in MEASURED} | {"by_layer": by_layer}


def in_words(layers: list[float]) -> str:
    """The median, and the range."""
    return f"{torch.tensor(layers).median():.2f} ({min(layers):.2f} to {max(layers):.2f})"


def distances(flow: Flow) -> dict[str, list[Tensor]]:
    """Of each layer, of each target that moved, all that is measured."""
    exact, sums = flow.z2z, flow.z2u.sum(-1)
    floor = flow.tensors["z2u.floor"][..., None].expand_as(sums)
    shares, own = shared_out(flow.z2u, flow.u2z, flow.u2z_residual, sums, floor)
    heads = with_own(flow, flow.z2z_heads, flow.z2z_residual)
    writes = flow.z2z_heads.sum(-1)
    product = flow.composed("product")
    product = product * (exact.sum(-1) / product.sum(-1))[..., None]
    stayed = flow.z2z_residual + (writes * (sums.abs() <= floor)).sum(1)
    measured = {
        "composed": relative(flow.composed(), exact),
        "product": relative(product, exact),
        "shares": relative(with_own(flow, shares * writes[..., None], stayed).sum(1), exact),
        "heads": relative(with_own(flow, shares * flow.u2z[..., None], own), heads),
        "mlp": through(flow),
    }
    total = flow.total("z2z").abs()
    moved = total > _STILL * total.median(dim=-1, keepdim=True).values
    return {
        name: [row[here] for row, here in zip(each, moved, strict=True)] for name, each in measured.items()
    }


def with_own(flow: Flow, heads: Tensor, own: Tensor) -> Tensor:
    """Maps of heads, and one more of what stays with each target, `[layer, head, target, source]`."""
    diagonal = torch.zeros_like(heads[:, :1])
    diagonal[:, 0, torch.arange(len(flow.targets)), list(flow.targets)] = own
    return torch.cat([heads, diagonal], dim=1)


def relative(maps: Tensor, exact: Tensor) -> Tensor:
    """`sum |maps - exact| / sum |exact|` of each layer and target."""
    return size(maps - exact) / size(exact)


def size(maps: Tensor) -> Tensor:
    """The sum of absolute values over sources, and over heads where maps have them."""
    summed = maps.abs().sum(-1)
    return summed if summed.ndim == 2 else summed.sum(1)


def through(flow: Flow) -> Tensor:
    """The share of what passes the MLP in all four parts of a row, in absolute values."""
    ways: Iterator[tuple[Tensor, Tensor]] = iter([
        (flow.z2z_mlp, flow.z2z_residual_mlp),
        (flow.z2z_heads - flow.z2z_mlp, flow.z2z_residual - flow.z2z_residual_mlp),
    ])  # fmt: skip
    mlp, beside = (size(heads) + residual.abs() for heads, residual in ways)
    return mlp / (mlp + beside)


def times(explainer: Explainer, repeats: int, tiny: bool) -> dict[str, float]:
    """CPU seconds of z2z with split over those without: a sentence under each baseline, and a long text."""
    layers, long = [0], " ".join(SENTENCES[:1] if tiny else SENTENCES * 3)
    asked = {name: (SENTENCES[0], None, name) for name in BASELINES} | {"itb, long": (long, layers, "itb")}
    return {name: ratio(explainer, repeats, *case) for name, case in asked.items()}


def ratio(explainer: Explainer, repeats: int, told: str, layers: list[int] | None, baseline: str) -> float:
    """That of one text, in some layers or all."""

    def run(split: bool) -> None:
        explainer.explain(told, "z2z", layers=layers, layer_baseline=baseline, split=split)

    without, split = measure.least([lambda: run(False), lambda: run(True)], repeats)
    return split / without


if __name__ == "__main__":
    measure.run(main)
