"""Forms of layers that were recognised before: a layer of the same kind has its sites at the same modules."""

import weakref
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
    if other is None or form is None or form.between is not None or parts_of(other) != parts_of(layer.module):
        form = form_of(layer)
    else:
        form = _moved(form, other, layer)
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


def parts_of(module: nn.Module) -> list[tuple[str, type]]:
    """The names and classes of a module's parts: layers that have them alike have the same sites."""
    return [(name, type(part)) for name, part in module.named_modules()]


def _moved(form: LayerForm, other: nn.Module, layer: Layer) -> LayerForm:
    """The form on another layer's modules."""
    twins = dict(zip(other.modules(), layer.module.modules(), strict=True))

    def site(of: Site | None) -> Site | None:
        return None if of is None else replace(of, module=twins[of.module])

    def stage(of: Stage | None) -> Stage | None:
        if of is None:
            return None
        at = replace(of.site, module=twins[of.site.module])
        return Stage(at, None if of.shift is None else shift_at(layer, at))

    return LayerForm(form.kind, stage(form.after), None, site(form.branch), site(form.last))
