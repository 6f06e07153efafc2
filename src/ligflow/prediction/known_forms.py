"""Forms of layers that were recognised before: a layer of the same kind has its sites at the same modules."""

import weakref
from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from ligflow.layer.layer import Layer
from ligflow.prediction.layer_form import LayerForm, Site, Stage, form_of, shift_at

_forms: "weakref.WeakKeyDictionary[nn.Module, LayerForm]" = weakref.WeakKeyDictionary()
_models: "weakref.WeakKeyDictionary[type[nn.Module], weakref.ref[nn.Module]]" = weakref.WeakKeyDictionary()


def known_form(layer: Layer) -> LayerForm:
    """The form of a validated layer: its own, or that of one of its class, with what it adds itself.

    Whether it fits is for the caller to see, who runs the layer both ways.
    """
    if layer.module in _forms:
        return _forms[layer.module]
    other = _models[type(layer.module)]() if type(layer.module) in _models else None
    form = None if other is None else _forms.get(other)
    twins = None if other is None else twins_of(other, layer.module)
    if twins is None or form is None or form.between is not None:
        form = form_of(layer)
    else:
        form = _moved(form, twins, layer)
    _forms[layer.module] = form
    _models[type(layer.module)] = weakref.ref(layer.module)
    return form


def form_seen(module: nn.Module) -> LayerForm | None:
    """The form that a layer of this module had before."""
    return _forms.get(module)


def forget(layer: Layer) -> None:
    """The layer's form is recognised anew when it is next asked for."""
    _forms.pop(layer.module, None)
    _models.pop(type(layer.module), None)


def twins_of(other: nn.Module, module: nn.Module) -> Mapping[nn.Module, nn.Module] | None:
    """The parts of a layer by those of another; None where names and classes are not alike."""
    parts, others = ([(name, type(part)) for name, part in of.named_modules()] for of in (module, other))
    return dict(zip(other.modules(), module.modules(), strict=True)) if parts == others else None


def _moved(form: LayerForm, twins: Mapping[nn.Module, nn.Module], layer: Layer) -> LayerForm:
    """The form on another layer's modules."""

    def site(of: Site | None) -> Site | None:
        return None if of is None else replace(of, module=twins[of.module])

    def stage(of: Stage | None) -> Stage | None:
        if of is None:
            return None
        at = replace(of.site, module=twins[of.site.module])
        return Stage(at, None if of.shift is None else shift_at(layer, at))

    return LayerForm(form.kind, stage(form.after), None, site(form.branch), site(form.last))
