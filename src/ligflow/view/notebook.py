"""Pages in a notebook, as anywidgets: flows, whose selection Python can read, and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ligflow.errors import LigflowError
from ligflow.extras import need
from ligflow.results.flow_data import FlowData
from ligflow.view import answer_page, interactive_page
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
        _esm = interactive_page.module()
        _css = interactive_page.style()
        files = traitlets.List(traitlets.Bytes()).tag(sync=True)
        names = traitlets.List(traitlets.Unicode()).tag(sync=True)
        view = traitlets.Unicode().tag(sync=True)
        selection = traitlets.Dict().tag(sync=True)

    return FlowWidget


def show_answer(rows: answer_page.Rows) -> bool:
    """Displays the page of a prediction, or of the rows of an answer, and says whether this is a notebook.

    Where anywidget is not installed it says so, and displays nothing.
    """
    if not Console().is_jupyter:
        return False
    try:
        need("notebook", "The page in a notebook")
    except LigflowError as error:
        print(error)
        return False
    from IPython.display import display

    names, files = zip(*answer_page.packed([rows]), strict=True)
    display(_answer_widget()(files=list(files), names=list(names)))
    return True


def _answer_widget() -> type[AnyWidget]:
    import anywidget
    import traitlets

    class AnswerWidget(anywidget.AnyWidget):
        _esm = answer_page.module()
        _css = answer_page.style()
        files = traitlets.List(traitlets.Bytes()).tag(sync=True)
        names = traitlets.List(traitlets.Unicode()).tag(sync=True)

    return AnswerWidget
