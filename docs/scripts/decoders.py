"""Measures what docs/how-to/decoders.md says, and draws the overlay of docs/how-to/images.md.

Run from the repository: .venv/bin/python docs/scripts/decoders.py
"""

import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from blocks import put  # noqa: E402

from encoder_decoders import explainer_of, inputs_of, pairs  # noqa: E402
from ligflow.layer.model_state import prepared  # noqa: E402
from ligflow.method.quadrature import Fixed  # noqa: E402
from ligflow.method.scalarization import L2  # noqa: E402
from ligflow.routes.integration import attribute  # noqa: E402

MODELS = ("t5", "bart", "whisper")
BASELINES = (("itb", "mean"), ("itb", "zero"), ("zero", "mean"), ("zero", "zero"))


def gap(name: str) -> float:
    """The worst cell of all routes, layers and baselines against autograd, over its target's total."""
    explainer, worst = explainer_of(name, torch.float64), 0.0
    for layer in explainer.prepared.record(inputs_of(name, 6, 0, torch.float64)):
        with prepared(layer.module, layer.implementation):
            for baseline, encoder in BASELINES:
                for _, engine, oracle, place in pairs(layer, baseline, encoder, 0):
                    ours, theirs = (
                        attribute(one, place.targets, L2(), Fixed("gauss-legendre:5"))
                        for one in (engine, oracle)
                    )
                    cells = (ours.value - theirs.value).abs().amax(-1) / theirs.scale
                    worst = max(worst, float(cells.max()))
    return worst


def row(name: str) -> str:
    """One line of the table."""
    flow = explainer_of(name).explain(inputs_of(name, 6, 0, torch.float32))
    composed = flow.composed().sum(-1) + flow.composed_cross().sum(-1)
    apart = ((composed - flow.total("z2z")).abs() / flow.total("z2z")).max()
    share = flow.z2z_cross.abs().sum() / (flow.z2z_cross.abs().sum() + flow.z2z.abs().sum())
    return (
        f"| {name} | {gap(name):.0e} | {flow.worst_certificate():.1e} | {float(apart):.1e} "
        f"| {100 * float(share):.0f}% |"
    )


def main() -> None:
    head = (
        "| model | against autograd, float64 | worst certificate, float32, default settings "
        "| composed against direct totals | magnitude that is the encoder's |\n|---|---|---|---|---|"
    )
    put(ROOT / "docs" / "how-to" / "decoders.md", {"decoders": "\n".join([head, *map(row, MODELS)])})


if __name__ == "__main__":
    main()
