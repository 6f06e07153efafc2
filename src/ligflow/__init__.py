"""ligflow: correct, fast, certified Layer-wise Integrated Gradients for Transformers."""

from ligflow._version import __version__ as __version__
from ligflow.batches import TextWarning as TextWarning
from ligflow.errors import LigflowError as LigflowError
from ligflow.errors import LigflowWarning as LigflowWarning
from ligflow.errors import UnsupportedModel as UnsupportedModel
from ligflow.explainer import CompletenessWarning as CompletenessWarning
from ligflow.explainer import Explainer as Explainer
from ligflow.explainer import explain as explain
from ligflow.flow import Flow as Flow
from ligflow.memory import MemoryWarning as MemoryWarning
from ligflow.pairs import Pair as Pair
from ligflow.pipelines import attribute_layer as attribute_layer
from ligflow.scalarize import direction as direction
from ligflow.tokens import Words as Words
