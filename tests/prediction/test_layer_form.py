"""What a layer computes from its heads' output on: recognised by what it does, and no family by name."""

import pytest

from ligflow.explainer.prepared_model import PreparedModel
from ligflow.layer.model_state import prepared
from ligflow.prediction.layer_form import LayerForm, form_of
from ligflow.prediction.recorded import recorded_layers
from prediction.oracle_families import FAMILIES


def form(name: str) -> LayerForm:
    family = FAMILIES[name]
    copy = PreparedModel(family.built()).now()
    layer = recorded_layers(copy, family.inputs(), None).layers[0]
    with prepared(copy.placement.model, layer.implementation):
        return form_of(layer)


@pytest.mark.parametrize(
    ("name", "kind", "branch", "last"),
    [
        ("gpt2", "sequential", False, False),  # norms in front of both branches
        ("olmo2", "sequential", True, False),  # a norm behind the MLP, before which its branch stands
        ("bert", "post-norm", False, True),  # a last norm over the MLP and what passes it
        ("gpt_neox", "parallel", False, False),  # both branches read the layer's input
    ],
)
def test_forms_of_families(name: str, kind: str, branch: bool, last: bool) -> None:
    found = form(name)
    assert (found.kind, found.branch is not None, found.last is not None) == (kind, branch, last)
