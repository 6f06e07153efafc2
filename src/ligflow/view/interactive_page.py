"""One self-contained page of flows: the viewer's module, its style sheet, and the flow files in base64."""

import base64
import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources

from ligflow.errors import LigflowError
from ligflow.inputs.labels import printable
from ligflow.results.flow_data import FlowData
from ligflow.view.payload import pack

# nothing is fetched, from anywhere: the page is all there is
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
_MODULES = (  # each imports from those before it alone
    "wording.js", "flow_file.js", "maps.js", "lens.js", "views.js", "highlights.js", "trace.js", "state.js",
    "table.js", "elements.js", "pens.js", "map_pictures.js", "trace_picture.js", "kept_words.js",
    "export.js", "running_text.js", "descriptions.js", "overview.js", "controls.js", "keyboard.js",
    "trace_panel.js", "skeleton.js", "pointer.js", "screen.js", "viewer.js",
)  # fmt: skip
_IMPORTS = re.compile(r'^import \{[^}]*\} from "\./[a-z_]+\.js";\n', re.MULTILINE)
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
    title = escape(printable(str(flows[0].meta.get("text") or "ligflow")))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title>\n"
        f"<style>\nhtml, body {{ height: 100%; margin: 0; }}\n{style()}</style></head>\n"
        f'<body data-view="{escape(view, quote=True)}">\n'
        f"<noscript>This page draws its maps with JavaScript.</noscript>\n{''.join(_files(flows, names))}"
        f'<script type="module">\n{module()}{_START}</script>\n</body></html>\n'
    )


def module() -> str:
    """The viewer, one ES module: its files in a row, without what they import from each other."""
    return "".join(_IMPORTS.sub("", _read(name)) for name in _MODULES)


def style() -> str:
    """The viewer's style sheet."""
    return _read("viewer.css")


def _read(name: str) -> str:
    return resources.files("ligflow.view").joinpath("viewer", name).read_text(encoding="utf-8")


def _files(flows: Sequence[FlowData], names: Sequence[str] | None) -> Iterator[str]:
    for number, flow in enumerate(flows):
        name = names[number] if names else f"flow {number + 1}"
        data = base64.b64encode(pack(flow)).decode("ascii")
        label = escape(json.dumps(name, ensure_ascii=True), quote=True)
        yield f'<script type="text/plain" class="flow" data-name="{label}">{data}</script>\n'
