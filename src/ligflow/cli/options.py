"""The options that commands share, each described once: those that name a model, and those of the method.

PyTorch is imported where a model is loaded, and not before: help and bad usage are answered at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ligflow.cli.streams import loading
from ligflow.cli.threads import Clock, use_idle_cores
from ligflow.cli.usage_errors import Usage
from ligflow.names import DTYPES, HEAD_BASELINES, PRECISIONS, SCALARIZATIONS

if TYPE_CHECKING:
    from ligflow.explainer.explainer import Explainer

TEXT, SHOWN, OUTPUT, METHOD = "Text and model", "What is shown", "Output", "Method (advanced)"
CORPUS, COMPARED, MACHINES = "Which sentences", "What is compared", "Machines"
ADDRESS, LIMITS = "Address", "Limits"


def option(help: str, panel: str, *names: str, **more: Any) -> Any:
    """An option in a panel of the help."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


def choice(option: str, known: Mapping[str, str], help: str, panel: str | None = None) -> Any:
    """An option that takes one of the `known` names, or the name in code that it stands for.

    The command is given the name in code. The names are in the help and are completed.
    """

    def in_code(typed: Any) -> Any:
        if isinstance(typed, list | tuple):
            return [name_in_code(option, name, known) for name in typed]
        return None if typed is None else name_in_code(option, typed, known)

    def completed(incomplete: str) -> list[str]:
        return [name for name in known if name.startswith(incomplete)]

    said = f"{help}: {', '.join(known)}."
    return typer.Option(
        option, help=said, metavar="<name>", callback=in_code, autocompletion=completed, rich_help_panel=panel
    )


def name_in_code(option: str, name: str, known: Mapping[str, str]) -> str:
    """The name in code that a name stands for; names in code stand for themselves."""
    if name not in known and name not in known.values():
        listed = (word if word == code else f"{word} ({code})" for word, code in known.items())
        raise Usage(f"{option} {name!r} is unknown; choose from {', '.join(listed)}.")
    return known.get(name, name)


# --- the model ------------------------------------------------------------------------------------

Model = Annotated[
    str | None,
    option(
        "Hub id, folder, embedded model or MODEL+ADAPTER; default: the embedded MiniLM.",
        TEXT,
        "--model",
        "-m",
    ),
]
Revision = Annotated[str | None, option("Revision of a hub model.", TEXT)]
Device = Annotated[str | None, option("cpu, cuda, cuda:1, ...", TEXT)]
Dtype = Annotated[str, choice("--dtype", DTYPES, "Numbers of the computation", TEXT)]
Stack = Annotated[
    str | None, option("Which layers, where a model has several stacks of them: decoder, ...", TEXT)
]
LocalOnly = Annotated[bool, option("Never ask the hub.", TEXT, "--local-files-only")]
TrustCode = Annotated[
    bool, option("Run the code that the checkpoint itself holds.", TEXT, "--trust-remote-code")
]


def explainer_of(
    model: str | None,
    revision: str | None,
    device: str | None,
    dtype: str,
    local_files_only: bool,
    unembedding: bool = False,
    stack: str | None = None,
    trust_remote_code: bool = False,
    lasting: bool = False,
) -> Explainer:
    """The explainer that the options name, on as many threads as others have left cores meanwhile.

    A `lasting` one (of a server) leaves threads alone, since others come and go.
    """
    loading(model)
    before = Clock.now()
    import torch

    from ligflow.explainer.explainer import Explainer

    options: dict[str, Any] = {
        "local_files_only": local_files_only, "unembedding": unembedding,
        "trust_remote_code": trust_remote_code,
    } | ({"revision": revision} if revision else {})  # fmt: skip
    explainer = Explainer.from_pretrained(model, device, getattr(torch, dtype), stack=stack, **options)
    if not lasting:
        use_idle_cores(before)
    return explainer


# --- the method -----------------------------------------------------------------------------------

AttBaseline = Annotated[str, choice("--att-baseline", HEAD_BASELINES, "Baseline of what heads read", METHOD)]
Scalarization = Annotated[str, choice("--scalarization", SCALARIZATIONS, "The size of a vector", METHOD)]
Quadrature = Annotated[
    str,
    option(
        "adaptive, fine (slow, a reference), gauss-legendre:N, midpoint:N, trapezoid:N, captum:N.", METHOD
    ),
]
Tolerance = Annotated[float, option("Relative tolerance of every cell.", METHOD, "--tol")]
MaxNodes = Annotated[int, option("Steps after which a target is given up.", METHOD)]
Precision = Annotated[
    str, choice("--precision", PRECISIONS, "Exact products, or on CUDA faster ones", METHOD)
]
