"""ligflow: correct, fast, certified Layer-wise Integrated Gradients for Transformers."""

import logging
from typing import TYPE_CHECKING

from ligflow._version import __version__ as __version__
from ligflow.errors import LigflowError as LigflowError
from ligflow.errors import LigflowWarning as LigflowWarning
from ligflow.errors import UnsupportedModel as UnsupportedModel
from ligflow.lazy_names import lazy_names

if TYPE_CHECKING:
    from ligflow.dictionaries.dictionary import Dictionary as Dictionary
    from ligflow.dictionaries.of_tensors import dictionary_of as dictionary_of
    from ligflow.dictionaries.read import read_dictionary as read_dictionary
    from ligflow.errors import CompletenessWarning as CompletenessWarning
    from ligflow.errors import MemoryWarning as MemoryWarning
    from ligflow.errors import TextWarning as TextWarning
    from ligflow.explainer.explainer import Explainer as Explainer
    from ligflow.explainer.explainer import explain as explain
    from ligflow.explainer.layer_hook import attribute_layer as attribute_layer
    from ligflow.flow import Flow as Flow
    from ligflow.flow import from_attentions as from_attentions
    from ligflow.inputs.chat import Chat as Chat
    from ligflow.inputs.pairs import Pair as Pair
    from ligflow.inputs.passages import Passages as Passages
    from ligflow.inputs.words import Words as Words
    from ligflow.method.scalarization import direction as direction
    from ligflow.prediction.answer import Answer as Answer
    from ligflow.prediction.prediction import Prediction as Prediction
    from ligflow.prediction.similarity import Similarity as Similarity
    from ligflow.results.feature_examples import feature_examples as feature_examples
    from ligflow.results.neuron_examples import neuron_examples as neuron_examples

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent unless the program wants to hear

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Answer": "ligflow.prediction.answer",
        "Chat": "ligflow.inputs.chat",
        "CompletenessWarning": "ligflow.errors",
        "Dictionary": "ligflow.dictionaries.dictionary",
        "Explainer": "ligflow.explainer.explainer",
        "Flow": "ligflow.flow",
        "MemoryWarning": "ligflow.errors",
        "Pair": "ligflow.inputs.pairs",
        "Passages": "ligflow.inputs.passages",
        "Prediction": "ligflow.prediction.prediction",
        "Similarity": "ligflow.prediction.similarity",
        "TextWarning": "ligflow.errors",
        "Words": "ligflow.inputs.words",
        "attribute_layer": "ligflow.explainer.layer_hook",
        "dictionary_of": "ligflow.dictionaries.of_tensors",
        "direction": "ligflow.method.scalarization",
        "explain": "ligflow.explainer.explainer",
        "from_attentions": "ligflow.flow",
        "feature_examples": "ligflow.results.feature_examples",
        "neuron_examples": "ligflow.results.neuron_examples",
        "read_dictionary": "ligflow.dictionaries.read",
    },
)
