"""A flow as HTML: a small fragment for notebooks, and a page of its own. All text is escaped."""

from html import escape

from jaxtyping import Float
from torch import Tensor

from ligflow.flow import Flow
from ligflow.view.colour import on, shade
from ligflow.view.select import NEEDS, available, printable, row_shares, select

_FRAGMENT_TOKENS = 32
_STYLE = """
.ligflow { font: 13px/1.4 system-ui, sans-serif; color: #111; background: #fff; }
.ligflow table { border-collapse: collapse; margin: 4px 0 12px; }
.ligflow th { font-weight: 500; padding: 1px 4px; text-align: right; white-space: pre; }
.ligflow thead th { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; }
.ligflow td { min-width: 22px; height: 20px; padding: 0 2px; text-align: right; font-size: 10px; }
.ligflow td.unmet { outline: 2px dashed #c00; outline-offset: -2px; }
.ligflow .maps { display: flex; flex-wrap: wrap; gap: 24px; align-items: flex-start; }
.ligflow figure { margin: 0 0 8px; } .ligflow figcaption { font-weight: 600; }
.ligflow summary { cursor: pointer; font-weight: 600; font-size: 15px; margin: 8px 0; }
.ligflow .cert td { padding: 1px 8px; font-size: 12px; } .ligflow .cert th { padding: 1px 8px; }
"""


def fragment(flow: Flow) -> str:
    """The certificates and one heat map: the last layer's direct map, or what there is."""
    count = _FRAGMENT_TOKENS
    cut = len(flow.tokens) > count or len(flow.targets) > count
    note = f"<p>The first {count} of {len(flow.tokens)} tokens; to_html(path) shows all.</p>" if cut else ""
    figure = _figure(flow, available(flow)[0], flow.layers[-1], count)
    body = f"{_heading(flow)}{figure}{note}"
    return f'<div class="ligflow"><style>{_STYLE}</style>{body}</div>'


def page(flow: Flow) -> str:
    """All layers: direct and composed maps, and every head's z2u as a small picture."""
    layers = "".join(_layer(flow, row) for row in range(len(flow.layers)))
    title = escape(printable(flow.meta.get("text") or "ligflow"))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title}</title><style>{_STYLE}</style></head><body class="ligflow">'
        f"<h1>{title}</h1>{_heading(flow)}{_legend()}{layers}</body></html>"
    )


def _heading(flow: Flow) -> str:
    settings = flow.meta.get("settings", {})
    asked = ", ".join(
        f"{k} {settings[k]}"
        for k in ("att_baseline", "mlp_baseline", "layer_baseline", "tol")
        if k in settings
    )
    rows = "".join(
        f"<tr><th>{route}</th><td>{flow.total(route).numel()}</td>"
        f"<td>{float(flow.certificate(route).abs().max()):.1e}</td>"
        f"<td>{float(flow.nodes(route).float().mean()):.1f}</td>"
        f"<td>{float(flow.origin_mass(route).max()):.2g}</td>"
        f"<td>{sum(cell.route == route for cell in flow.unmet)}</td></tr>"
        for route in flow.routes
    )
    notes = "".join(f"<p>note: {escape(note)}</p>" for note in flow.meta.get("notes", []))
    names = ("route", "totals", "worst |certificate|", "mean nodes", "max origin mass", "unmet")
    head = "<tr>" + "".join(f"<th>{name}</th>" for name in names) + "</tr>"
    return (
        f"<p>{escape(str(flow.meta.get('model')))}; {escape(asked)}</p>"
        f'<table class="cert"><tbody>{head}{rows}</tbody></table>{notes}'
    )


def _legend() -> str:
    return (
        "<p>Rows are targets, columns are sources. Numbers are per cent of the row's sum of magnitudes; "
        "blue adds, orange takes away. A dashed row misses its tolerance. Pictures of heads leave out cells "
        "under 0.5% of their row.</p>"
    )


def _layer(flow: Flow, row: int) -> str:
    layer = flow.layers[row]
    figures = "".join(_figure(flow, view, layer, None) for view in available(flow) if view != "product")
    heads = ""
    if "z2u" in flow.routes:
        pictures = "".join(_picture(flow.z2u[row, head], head) for head in range(flow.heads))
        heads = f'<h3>z2u, head by head</h3><div class="maps">{pictures}</div>'
    opened = " open" if row == 0 else ""
    maps = f'<div class="maps">{figures}</div>'
    return f"<details{opened}><summary>layer {layer}</summary>{maps}{heads}</details>"


def _figure(flow: Flow, view: str, layer: int, count: int | None) -> str:
    """A heat map of the first `count` targets and columns, None for all."""
    values, columns, title = select(flow, view, layer, None)
    bad = {cell.target for cell in flow.unmet if cell.route in NEEDS[view] and cell.layer == layer}
    head = "".join(f"<th>{escape(name)}</th>" for name in columns[:count])
    shares = row_shares(values)[:count, :count].tolist()
    rows = "".join(
        _row(flow, target, share, value, target in bad)
        for target, share, value in zip(flow.targets, shares, values[:count, :count].tolist(), strict=False)
    )
    table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<figure><figcaption>{escape(title)}</figcaption>{table}</figure>"


def _row(flow: Flow, target: int, shares: list[float], values: list[float], bad: bool) -> str:
    mark = ' class="unmet"' if bad else ""
    cells = "".join(
        f'<td{mark} style="background:{(ink := shade(share))};color:{on(ink)}" title="{value:.4g}">'
        f"{f'{100 * share:.0f}' if round(100 * share) else ''}</td>"
        for share, value in zip(shares, values, strict=True)
    )
    return f"<tr><th>{escape(printable(flow.tokens[target]))}</th>{cells}</tr>"


def _picture(values: Float[Tensor, "target source"], head: int) -> str:
    rows, columns = values.shape
    rects = "".join(
        f'<rect x="{c}" y="{r}" width="1" height="1" fill="{shade(share)}"/>'
        for r, line in enumerate(row_shares(values).tolist())
        for c, share in enumerate(line)
        if abs(share) >= 0.005
    )
    return (
        f"<figure><figcaption>head {head}</figcaption>"
        f'<svg viewBox="0 0 {columns} {rows}" width="160" height="{160 * rows / columns:.0f}" '
        f'shape-rendering="crispEdges" style="border:1px solid #bbb">{rects}</svg></figure>'
    )
