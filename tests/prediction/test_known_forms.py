"""Forms of layers of one class are found once, and stand at each layer's own modules."""

from weakref import WeakKeyDictionary

import torch

from ligflow.explainer.prepared_model import PreparedModel
from ligflow.layer.model_state import prepared
from ligflow.prediction import known_forms
from ligflow.prediction.layer_form import form_of
from ligflow.prediction.recorded import recorded_layers
from prediction.tiny import gpt2, ids


def test_a_second_layer_has_the_first_one_s_form_at_its_own_modules(monkeypatch) -> None:
    copy = PreparedModel(gpt2()).now()
    first, second = recorded_layers(copy, {"input_ids": ids()}, None).layers
    for name in ("_forms", "_models"):  # of other tests' models, while they live
        monkeypatch.setattr(known_forms, name, WeakKeyDictionary())
    searched = []
    monkeypatch.setattr(known_forms, "form_of", lambda layer: searched.append(layer) or form_of(layer))
    with prepared(copy.placement.model, first.implementation):
        forms = [known_forms.known_form(layer) for layer in (first, second, second)]
        assert searched == [first]
        found = form_of(second)
        assert forms[1] is forms[2]
        assert forms[1].kind == found.kind == "sequential"
        assert forms[1].after.site == found.after.site
        assert forms[1].after.site.module in [*second.module.modules()]
        torch.testing.assert_close(forms[1].after.shift, found.after.shift)
        known_forms.forget(second)
        known_forms.known_form(second)
    assert searched == [first, second]
