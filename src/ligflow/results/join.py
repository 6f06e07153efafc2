"""Flows of one example, each with other routes, as one flow."""

from collections.abc import Sequence
from dataclasses import replace

from ligflow.errors import LigflowError
from ligflow.results.flow_data import AnyFlow, FlowData

_BASELINE_OF = {"z2u": "att_baseline", "u2z": "mlp_baseline", "z2z": "layer_baseline"}


def join(flows: Sequence[AnyFlow]) -> AnyFlow:
    """One flow with the routes of all, e.g. z2u under one baseline and u2z under another, to be composed.

    Raises LigflowError if they are not of the same tokens and layers, two hold the same route, or the
    tokens of an encoder start from elsewhere, since no route is without them.
    """
    first = flows[0]
    routes = [route for flow in flows for route in flow.routes]
    if len(set(routes)) < len(routes):
        raise LigflowError(f"The flows hold a route twice ({', '.join(routes)}); join flows of other routes.")
    for flow in flows:
        if (flow.tokens, flow.layers, flow.targets) != (first.tokens, first.layers, first.targets):
            raise LigflowError("The flows are of other tokens, layers or targets; join flows of one example.")
        if _encoder(flow) != _encoder(first):
            raise LigflowError(
                "The flows are of other tokens of an encoder, or start them elsewhere; join flows of one "
                "example and one encoder_baseline."
            )
        if bool(flow.meta["settings"].get("carried")) != bool(first.meta["settings"].get("carried")):
            raise LigflowError(
                "Some of the flows carry their starts from layer to layer; join flows of one kind."
            )
    settings = dict(first.meta["settings"]) | {"routes": routes, "scalarization": {}}
    for flow in flows:
        own = flow.meta["settings"]
        settings["scalarization"] |= own["scalarization"]
        settings |= {name: own[name] for name in ("parts", "split") if name in own}
        settings |= {
            _BASELINE_OF[route]: own[_BASELINE_OF[route]] for route in flow.routes if route in _BASELINE_OF
        }
    notes = list(dict.fromkeys(note for flow in flows for note in flow.meta.get("notes", ())))
    tensors = {name: tensor for flow in flows for name, tensor in flow.tensors.items()}
    meta = dict(first.meta) | {"settings": settings, "notes": notes}
    return replace(first, tensors=tensors, meta=meta)


def _encoder(flow: FlowData) -> tuple[list[str], str]:
    return flow.memory, flow.meta["settings"].get("encoder_baseline", "")
