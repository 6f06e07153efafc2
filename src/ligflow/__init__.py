"""ligflow: correct, fast, certified Layer-wise Integrated Gradients for Transformers."""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ligflow._version import __version__ as __version__
from ligflow.errors import LigflowError as LigflowError
from ligflow.errors import LigflowWarning as LigflowWarning
from ligflow.errors import UnsupportedModel as UnsupportedModel

if TYPE_CHECKING:
    from ligflow.batches import TextWarning as TextWarning
    from ligflow.explainer import CompletenessWarning as CompletenessWarning
    from ligflow.explainer import Explainer as Explainer
    from ligflow.explainer import explain as explain
    from ligflow.flow import Flow as Flow
    from ligflow.memory import MemoryWarning as MemoryWarning
    from ligflow.pairs import Pair as Pair
    from ligflow.pipelines import attribute_layer as attribute_layer
    from ligflow.scalarize import direction as direction
    from ligflow.tokens import Words as Words

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent unless the program wants to hear

# Imported when they are first asked for: PyTorch takes seconds, and `ligflow --help` needs none of it.
_HOMES = {
    "TextWarning": "batches",
    "CompletenessWarning": "explainer",
    "Explainer": "explainer",
    "explain": "explainer",
    "Flow": "flow",
    "MemoryWarning": "memory",
    "Pair": "pairs",
    "attribute_layer": "pipelines",
    "direction": "scalarize",
    "Words": "tokens",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ligflow' has no attribute {name!r}")
    found = getattr(import_module(f"ligflow.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
