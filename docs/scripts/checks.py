"""Sets what the pages on experiments say against other set-ups. Run: python docs/scripts/checks.py NAME ...

Names: matched, controls. They take the first 8 sentences of the shipped corpus on MiniLM.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from by_name import run_named
from torch import Tensor

from ligflow import Explainer, Flow
from ligflow.corpus.sources.readers import read
from ligflow.evaluation.consistency import agreement, shuffled_rows

SENTENCES = 8
METRICS = ("relative_l2", "pearson", "spearman", "top_k")
PAIRS = (
    ("zero", "itb_zero_ratio", "zero"),
    ("zero", "zero", "matched"),
    ("mean", "mean", "matched"),
    ("itb", "itb", "att_itb_a0"),
)


def texts() -> Iterator[str]:
    return (sentence.text for sentence in islice(read("embedded:sentences"), SENTENCES))


def flows(layer: str, att: str, mlp: str) -> Iterator[Flow]:
    explainer = Explainer.from_pretrained()
    settings = {"layer_baseline": layer, "att_baseline": att, "mlp_baseline": mlp}
    return (explainer.explain(text, **settings) for text in texts())  # type: ignore[arg-type]


def means(rows: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """The mean over all rows of each metric, where it is defined."""
    return {name: float(torch.cat([row[name].flatten() for row in rows]).nanmean()) for name in METRICS}


def held_against(flow: Flow, other: Tensor, diagonal: bool) -> dict[str, Tensor]:
    """Agreement of the direct map with another one, row by row, with or without the target as a source."""
    count = len(flow.tokens)
    compared = torch.ones(count, count, dtype=torch.bool)
    if not diagonal:
        compared.fill_diagonal_(False)
    still = (flow.z2z.abs().sum(-1) == 0) | (other.abs().sum(-1) == 0)
    return agreement(flow.z2z, other, compared.expand_as(flow.z2z), still)


def matched() -> None:
    """Direct maps against composed ones whose paths have the same ends, and against the best of the grid."""
    for layer, att, mlp in PAIRS:
        every = list(flows(layer, att, mlp))
        for diagonal in (True, False):
            found = means([held_against(flow, flow.composed("conserving"), diagonal) for flow in every])
            values = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
            print(f"direct {layer:5} {att}/{mlp}, {'with' if diagonal else 'without'} the target: {values}")


def controls() -> None:
    """Off the diagonal, direct `itb` against composed maps that know less and less."""
    generator = torch.Generator().manual_seed(0)
    rows: dict[str, list[dict[str, Tensor]]] = {}
    for flow in flows("itb", "itb", "att_itb_a0"):
        off = ~torch.eye(len(flow.tokens), dtype=torch.bool)
        for name, other in lesser(flow, off, generator):
            rows.setdefault(name, []).append(held_against(flow, other, diagonal=False))
    for name, some in rows.items():
        print(f"{name}: Pearson {means(some)['pearson']:.3f}")


def lesser(flow: Flow, off: Tensor, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """The composed map, and maps in which something of it is gone."""
    total = flow.z2u.sum(-1, keepdim=True)
    share = flow.z2u / torch.where(total == 0, 1, total)
    order = torch.randperm(flow.heads, generator=generator)

    def weighed(by_head: Tensor) -> Tensor:
        return (share * by_head[..., None]).sum(1)

    composed = weighed(flow.u2z)
    yield "conserving", composed
    yield "all heads alike", weighed(flow.u2z.mean(1, keepdim=True).expand_as(flow.u2z))
    yield "heads exchanged", weighed(flow.u2z[:, order])
    yield "the mean row of the sentence", composed.mean(1, keepdim=True).expand_as(composed)
    yield "the row of the next token", composed.roll(-1, 1)
    yield "the row in random order", shuffled_rows(composed, off.expand_as(composed), generator)


if __name__ == "__main__":
    run_named((matched, controls), sys.argv[1:], __doc__)
