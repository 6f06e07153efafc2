"""Are results the same to the last bit as before a change? Flows of real weights, saved and compared.

    git checkout BEFORE && python benchmarks/same_bits.py before
    git checkout AFTER && python benchmarks/same_bits.py after before

Saves flows of MiniLM and Gemma-3-270M under three baselines into the first folder, on one thread; then
compares every tensor of them with the second. The exit code is 1 where a tensor differs.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from safetensors.torch import load_file

from ligflow import Explainer

TEXTS = {
    "embedded:minilm": "The old lighthouse keeper counted the ships.",
    "embedded:gemma-3-270m": "The capital of France is",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "itb": {},
    "zero": {"att_baseline": "zero", "mlp_baseline": "zero", "layer_baseline": "zero"},
    "mean": {"att_baseline": "mean", "mlp_baseline": "matched", "layer_baseline": "mean"},
}
LAYERS = [1, 4]


def save(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for model, text in TEXTS.items():
        explainer = Explainer.from_pretrained(model)
        for name, settings in SETTINGS.items():
            flow = explainer.explain(text, layers=LAYERS, **settings)
            flow.save(folder / f"{model.removeprefix('embedded:')}-{name}.safetensors")


def differences(folder: Path, other: Path) -> list[str]:
    """The tensors that differ in any bit, or that only one side has."""
    differing = []
    for path in sorted(folder.glob("*.safetensors")):
        ours, theirs = load_file(path), load_file(other / path.name)
        equal = {
            name: name in ours and name in theirs and torch.equal(bits(ours[name]), bits(theirs[name]))
            for name in sorted(ours.keys() | theirs.keys())
        }
        print(f"{path.name}: {sum(equal.values())} of {len(equal)} tensors equal")
        differing += [f"{path.name}: {name}" for name, same in equal.items() if not same]
    return differing


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(torch.uint8) if tensor.ndim else tensor.reshape(1).view(torch.uint8)


def main(
    folder: Annotated[Path, typer.Argument(help="Where the flows of this code are saved.")],
    other: Annotated[Path | None, typer.Argument(help="A folder of before, to compare with.")] = None,
) -> None:
    """Saves flows, and compares them with those of before."""
    torch.set_num_threads(1)
    save(folder)
    if other is not None and (differing := differences(folder, other)):
        print("\n".join(differing))
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
