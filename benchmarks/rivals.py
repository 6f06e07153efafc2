"""What rivals give to each token of a folder's questions, each by its own released code where that runs.

    python benchmarks/rivals.py runs/prediction-faithfulness/smollm2 [--only attnlrp,gim] [--count 60]

The folder is one that `questions.py` made, its weights beside it. Packages that cannot live beside ligflow
get an environment of their own in benchmarks/.envs, made on the first run. Relevances are appended, so that
an interrupted run goes on; tuning questions are left out.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

import measure
from measure import HERE, note

WORKERS = HERE / "workers"
ENVIRONMENTS = HERE / ".envs"
CONSTRAINTS = HERE.parent / "constraints.txt"
PROBE = tuple(range(2, 12))  # token ids; every environment's model must say the same of them


@dataclass(frozen=True)
class Package:
    """A worker's methods, and packages that go into its environment without their dependencies.

    One that is not `own` runs in the environment of the tests. `named` methods take long, and run where they
    are asked for by name; one with `decoders` explains no encoder.
    """

    methods: tuple[str, ...]
    bare: tuple[str, ...] = ()
    own: bool = True
    named: tuple[str, ...] = ()
    decoders: bool = False


PACKAGES = {
    "lxt": Package(("attnlrp", "attnlrp-logprob"), ("lxt==2.1",)),
    "gim": Package(("gim", "gim-0.1.4", "gim-as-released")),
    "attention": Package(
        (
            "random", "mean-attention", "last-attention", "rollout", "flow",
            "value-weighted-rollout", "norm-rollout", "globenc-rollout", "alti-rollout",
        ),
        own=False,
    ),
    "captum": Package(
        ("gradient-x-input", "deeplift", "integrated-gradients", "leave-one-out-captum"), own=False
    ),
    "discretised_ig": Package(("discretised-ig",), own=False),
    "inseq": Package(("occlusion", "value-zeroing"), named=("sequential-ig",), decoders=True),
}  # fmt: skip
METHODS = tuple(method for package in PACKAGES.values() for method in package.methods)
NAMED = tuple(method for package in PACKAGES.values() for method in package.named)


def main(
    folder: Annotated[Path, typer.Argument(help="RUN/MODEL, with its questions.jsonl.")],
    only: Annotated[str | None, typer.Option(help="Methods, with commas between; default: all.")] = None,
    count: Annotated[int | None, typer.Option(help="So many of the questions, in their order.")] = None,
) -> None:
    """Run every rival on the questions of a model, cheap ones first within a package."""
    weights = folder.parent / "weights" / folder.name
    chosen = METHODS if only is None else tuple(only.split(","))
    if unknown := set(chosen) - {*METHODS, *NAMED}:
        every = ", ".join((*METHODS, *NAMED))
        raise SystemExit(f"No methods: {', '.join(sorted(unknown))}; there are {every}.")
    if not (folder / "questions.jsonl").exists() or not weights.exists():
        raise SystemExit(f"{folder} has no questions: python benchmarks/questions.py {folder.name}")
    write_outputs(weights)
    for name, package in PACKAGES.items():
        if package.decoders and not decodes(weights):
            continue
        for method in (*package.methods, *package.named):
            if method in chosen:
                run(name, package, [folder, weights, method, *([] if count is None else [str(count)])])


def write_outputs(weights: Path) -> None:
    """What the model says of a few tokens here, for other environments to compare (`worker.agrees`)."""
    file = weights / "outputs.json"
    if file.exists():
        return
    kind = AutoModelForCausalLM if decodes(weights) else AutoModel
    model = kind.from_pretrained(weights).float().eval()
    with torch.no_grad():
        out = model(input_ids=torch.tensor([PROBE]))
    values = out.logits[0, -1] if decodes(weights) else out.last_hidden_state[0].mean(0)
    file.write_text(json.dumps({"ids": PROBE, "values": values.tolist()}))


def decodes(weights: Path) -> bool:
    """Whether it is a decoder's folder."""
    return "CausalLM" in AutoConfig.from_pretrained(weights).architectures[0]


def run(name: str, package: Package, arguments: list[str | Path]) -> None:
    """A worker in its environment; what it prints is shown as it comes."""
    python = prepare(name, package) if package.own else Path(sys.executable)
    settings = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    path = [str(HERE), *([] if package.own else [os.environ.get("PYTHONPATH", "")])]
    settings["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    command = [python, "-W", "ignore", WORKERS / f"of_{name}.py", *arguments]
    if subprocess.run(command, env=os.environ | settings).returncode:
        raise SystemExit(f"{name} failed on {arguments[2]}, see above.")


def prepare(name: str, package: Package) -> Path:
    """The Python of a package's environment, made anew where what it asks for has changed."""
    requirements = WORKERS / f"{name}-requirements.txt"
    wanted = "\n".join([requirements.read_text(), *package.bare])
    mark = ENVIRONMENTS / name / "requirements.txt"
    python = ENVIRONMENTS / name / ("Scripts" if os.name == "nt" else "bin") / "python"
    if mark.exists() and mark.read_text() == wanted:
        return python
    note(f"installing {name} in {ENVIRONMENTS / name} ...")
    subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENTS / name], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", str(CONSTRAINTS), "torch", "-r", str(requirements)], check=True)
    if package.bare:
        subprocess.run([*pip, "--no-deps", *package.bare], check=True)
    mark.write_text(wanted)
    return python


if __name__ == "__main__":
    measure.run(main)
