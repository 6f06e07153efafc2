"""A model, ready to be asked: from inputs to recorded layers to flows."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ligflow.errors import CompletenessWarning as CompletenessWarning
    from ligflow.explainer.explainer import Explainer as Explainer
    from ligflow.explainer.explainer import explain as explain

_HOMES = {
    "CompletenessWarning": "ligflow.errors",
    "Explainer": "ligflow.explainer.explainer",
    "explain": "ligflow.explainer.explainer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
