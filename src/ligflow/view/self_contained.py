"""Pages that are one file: scripts and styles in a row, under a policy that fetches nothing."""

import base64
import json
import re
from collections.abc import Sequence
from html import escape
from importlib import resources

from ligflow.inputs.labels import printable

# nothing is fetched, from anywhere: the page is all there is
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
_IMPORTS = re.compile(r'^import \{[^}]*\} from "\.{1,2}/[a-z_/]+\.js";\n', re.MULTILINE)


def document(title: str, style: str, body: str, script: str, view: str | None = None) -> str:
    """A page of a style sheet, a body in HTML and a module; `view` is how it opens, where it says so."""
    opening = "" if view is None else f' data-view="{escape(view, quote=True)}"'
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(printable(title))}</title>\n<style>\n{style}</style></head>\n"
        f'<body{opening}>\n{body}<script type="module">\n{script}</script>\n</body></html>\n'
    )


def module(names: Sequence[str]) -> str:
    """Scripts in a row, one ES module, without what they import from those before them."""
    return "".join(_IMPORTS.sub("", asset(name)) for name in names)


def asset(name: str) -> str:
    """A script or style sheet, by its path in this package: `viewer/pens.js`."""
    return resources.files("ligflow.view").joinpath(*name.split("/")).read_text(encoding="utf-8")


def embedded(data: bytes, kind: str, name: str) -> str:
    """A file in base64, as a block that no browser runs."""
    label = escape(json.dumps(name, ensure_ascii=True), quote=True)
    text = base64.b64encode(data).decode("ascii")
    return f'<script type="text/plain" class="{kind}" data-name="{label}">{text}</script>\n'
