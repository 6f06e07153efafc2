"""Figures of a flow for print, in matplotlib: heat maps, layer strips, head grids, ladders, traces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ligflow.errors import LigflowError
from ligflow.inputs.token_names import token_position
from ligflow.names import NEEDS
from ligflow.results.flow_data import FlowData
from ligflow.view import heat_map
from ligflow.view.canvas import SCALES, check_format, printing, save
from ligflow.view.highlights import highlights
from ligflow.view.ladder import ladder
from ligflow.view.select import VIEWS, available

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TAKES = {  # what each kind can be told
    "heat": ("view", "layer", "head", "scale"),
    "layers": ("view", "scale"),
    "heads": ("layer", "scale"),
    "ladder": ("layer", "target"),
    "overview": ("layer", "scale"),
    "trace": ("view", "layer", "target"),
}
KINDS = tuple(TAKES)


def plot(
    flow: FlowData,
    kind: str = "heat",
    *,
    view: str | None = None,
    layer: int | None = None,
    head: int | None = None,
    target: int | str | None = None,
    scale: str | None = None,
    path: str | Path | None = None,
) -> Figure:
    """A figure of a flow.

    | kind | what |
    |---|---|
    | `heat` | one map (`view`, of one `layer`, for `z2u` of one `head` or their sum) |
    | `layers` | the same map of every layer, on one colour scale |
    | `heads` | `z2u` of one layer, head by head, on one colour scale |
    | `ladder` | tokens, heads and tokens of one layer, with links by weight; of one `target` or all |
    | `overview` | the maps of one `layer` side by side, without the sources that stand aside |
    | `trace` | one `target` followed from a layer down to the input (`view`: `conserving` or `z2z`) |

    A target is named by its position or by what it says (see `token_positions`).
    Rows are targets, columns are sources; rows that miss their tolerance are hatched. `scale` is `share` (of
    the row's sum of magnitudes, signed; the default), `value` or `absolute`. By default the first view that
    there is, and the last layer; an overview opens at the layer that tells most, a trace follows the token
    that is shown first. With `path` the figure is saved as SVG, PDF or PNG.

    Raises LigflowError for a name, layer, head or target that there is not, an option that the kind does not
    take, routes that are missing, and if matplotlib is not installed.
    """
    _check(kind, path, {"view": view, "layer": layer, "head": head, "target": target, "scale": scale})
    if layer is None:
        layer = highlights(flow).layer if kind == "overview" else flow.layers[-1]
    flow.row(layer)
    target = None if target is None else token_position(target, flow.tokens, "target")
    shown = chosen_view(flow, view)
    if head is not None and shown != "z2u":
        raise LigflowError(f"head {head} is for view 'z2u', not for {shown!r}.")
    chosen_scale = scale or "share"
    figures: dict[str, Callable[[], Figure]] = {
        "heat": lambda: heat_map.heat(flow, shown, layer, head, chosen_scale),
        "layers": lambda: heat_map.by_layer(flow, shown, chosen_scale),
        "heads": lambda: heat_map.by_head(flow, layer, chosen_scale),
        "ladder": lambda: ladder(flow, layer, target),
        "overview": lambda: heat_map.overview(flow, layer, chosen_scale),
        "trace": lambda: heat_map.traced(flow, layer, target, view),
    }
    with printing():
        figure = figures[kind]()
        if path is not None:
            save(figure, Path(path))
    return figure


def _check(kind: str, path: str | Path | None, options: dict[str, Any]) -> None:
    if kind not in KINDS:
        raise LigflowError(f"Unknown kind {kind!r}; choose from {', '.join(KINDS)}.")
    for name, value in options.items():
        if value is not None and name not in TAKES[kind]:
            raise LigflowError(
                f"{name} does nothing for kind {kind!r}, which takes {', '.join(TAKES[kind])}."
            )
    scale = options["scale"] or "share"
    if scale not in SCALES:
        raise LigflowError(f"Unknown scale {scale!r}; choose from {', '.join(SCALES)}.")
    if path is not None:
        check_format(path)


def chosen_view(flow: FlowData, view: str | None) -> str:
    """The view that is asked for, or the first that the flow's routes allow. Raises LigflowError."""
    if view is not None and view not in VIEWS:
        raise LigflowError(f"Unknown view {view!r}; choose from {', '.join(VIEWS)}.")
    chosen = available(flow)[0] if view is None else view
    lacking = NEEDS[chosen] - {*flow.routes}
    if lacking:
        raise LigflowError(
            f"View {chosen!r} needs route {', '.join(sorted(lacking))}, and this flow holds "
            f"{', '.join(flow.routes)}; explain with it."
        )
    return chosen
