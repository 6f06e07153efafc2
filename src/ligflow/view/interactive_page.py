"""One self-contained page of flows: the viewer's module, its style sheet, and the flow files in base64."""

from collections.abc import Sequence

from ligflow.errors import LigflowError
from ligflow.results.flow_data import FlowData
from ligflow.view import self_contained
from ligflow.view.payload import pack

_MODULES = (  # each imports from those before it alone
    "wording.js", "safetensors.js", "flow_file.js", "maps.js", "lens.js", "alignment.js", "views.js",
    "highlights.js", "trace.js", "state.js", "csv.js", "table.js", "elements.js", "pens.js",
    "map_pictures.js", "trace_picture.js", "kept_words.js", "export.js", "running_text.js", "guide.js",
    "descriptions.js", "reading.js", "overview.js", "presets.js", "controls.js", "keyboard.js",
    "trace_panel.js", "skeleton.js", "tooltip.js", "pointer.js", "screen.js", "viewer.js",
)  # fmt: skip
_STYLE = "\nhtml, body { height: 100%; margin: 0; }\n"
_START = """
const files = [...document.querySelectorAll("script.flow")].map((one) => (
  { name: JSON.parse(one.dataset.name), base64: one.textContent.trim() }));
mount(document.body, files, { fragment: true, start: document.body.dataset.view });
"""


def page(flows: Sequence[FlowData], names: Sequence[str] | None = None, view: str = "") -> str:
    """The page in HTML. The first flow is shown; the others, of other settings or texts, can be chosen.

    `view` is how the page opens, written like the part behind # in its address.

    Raises LigflowError without a flow, and for flows that are too large for a browser (see `pack`).
    """
    if not flows:
        raise LigflowError("A page needs at least one flow.")
    names = names or [f"flow {number + 1}" for number in range(len(flows))]
    files = "".join(
        self_contained.embedded(pack(flow), "flow", name) for flow, name in zip(flows, names, strict=True)
    )
    return self_contained.document(
        str(flows[0].meta.get("text") or "ligflow"),
        _STYLE + style(),
        f"<noscript>This page draws its maps with JavaScript.</noscript>\n{files}",
        module() + _START,
        view,
    )


def module() -> str:
    """The viewer, one ES module: its files in a row, without what they import from each other."""
    return self_contained.module([f"viewer/{name}" for name in _MODULES])


def style() -> str:
    """The viewer's style sheet."""
    return self_contained.asset("viewer/viewer.css")
