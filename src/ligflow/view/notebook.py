"""Flows in a notebook: the viewer as an anywidget, its selection readable from Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ligflow.extras import need
from ligflow.results.flow_data import FlowData
from ligflow.view.interactive_page import module, style
from ligflow.view.payload import pack

if TYPE_CHECKING:
    from anywidget import AnyWidget

    class FlowWidget(AnyWidget):
        """The viewer in a notebook. `selection` is what is pinned: layer, map, side, tokens, head, label."""

        selection: dict[str, Any]


def show(flows: Sequence[FlowData], view: str = "") -> FlowWidget:
    """The widget of some flows. Raises LigflowError if anywidget is not installed."""
    names = [f"flow {number}" for number in range(1, len(flows) + 1)]
    return _widget()(files=[pack(flow) for flow in flows], names=names, view=view)


def _widget() -> type[FlowWidget]:
    """The widget's class, made when it is first wanted: anywidget is an extra."""
    need("notebook", "The widget")
    import anywidget
    import traitlets

    class FlowWidget(anywidget.AnyWidget):
        _esm = module()
        _css = style()
        files = traitlets.List(traitlets.Bytes()).tag(sync=True)
        names = traitlets.List(traitlets.Unicode()).tag(sync=True)
        view = traitlets.Unicode().tag(sync=True)
        selection = traitlets.Dict().tag(sync=True)

    return FlowWidget
