"""A model, ready to be asked: from inputs to recorded layers to flows."""

from typing import TYPE_CHECKING

from ligflow.lazy_names import lazy_names

if TYPE_CHECKING:
    from ligflow.errors import CompletenessWarning as CompletenessWarning
    from ligflow.explainer.explainer import Explainer as Explainer
    from ligflow.explainer.explainer import explain as explain

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CompletenessWarning": "ligflow.errors",
        "Explainer": "ligflow.explainer.explainer",
        "explain": "ligflow.explainer.explainer",
    },
)
