"""ligflow: correct, fast, certified Layer-wise Integrated Gradients for Transformers."""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ligflow._version import __version__ as __version__
from ligflow.errors import LigflowError as LigflowError
from ligflow.errors import LigflowWarning as LigflowWarning
from ligflow.errors import UnsupportedModel as UnsupportedModel

if TYPE_CHECKING:
    from ligflow.errors import CompletenessWarning as CompletenessWarning
    from ligflow.errors import MemoryWarning as MemoryWarning
    from ligflow.errors import TextWarning as TextWarning
    from ligflow.explainer.explainer import Explainer as Explainer
    from ligflow.explainer.explainer import explain as explain
    from ligflow.explainer.layer_hook import attribute_layer as attribute_layer
    from ligflow.flow import Flow as Flow
    from ligflow.inputs.pairs import Pair as Pair
    from ligflow.inputs.words import Words as Words
    from ligflow.method.scalarization import direction as direction

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent unless the program wants to hear

# Imported when they are first asked for: PyTorch takes seconds, and `ligflow --help` needs none of it.
_HOMES = {
    "TextWarning": "errors",
    "CompletenessWarning": "errors",
    "Explainer": "explainer.explainer",
    "explain": "explainer.explainer",
    "Flow": "flow",
    "MemoryWarning": "errors",
    "Pair": "inputs.pairs",
    "attribute_layer": "explainer.layer_hook",
    "direction": "method.scalarization",
    "Words": "inputs.words",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ligflow' has no attribute {name!r}")
    found = getattr(import_module(f"ligflow.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
