"""A flow as a small piece of static HTML, for notebooks without the widget. All text is escaped."""

from html import escape

from ligflow.flow import Flow
from ligflow.view.colour import on, shade
from ligflow.view.select import NEEDS, available, printable, row_shares, select

_FRAGMENT_TOKENS = 32
_STYLE = """
.ligflow-static { font: 13px/1.4 system-ui, sans-serif; color: #111; background: #fff; }
.ligflow-static table { border-collapse: collapse; margin: 4px 0 12px; }
.ligflow-static th { font-weight: 500; padding: 1px 4px; text-align: right; white-space: pre; }
.ligflow-static thead th { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; }
.ligflow-static td { min-width: 22px; height: 20px; padding: 0 2px; text-align: right; font-size: 10px; }
.ligflow-static td.unmet { outline: 2px dashed #c00; outline-offset: -2px; }
.ligflow-static figure { margin: 0 0 8px; } .ligflow-static figcaption { font-weight: 600; }
.ligflow-static .cert td { padding: 1px 8px; font-size: 12px; } .ligflow-static .cert th { padding: 1px 8px; }
"""


def fragment(flow: Flow) -> str:
    """The certificates and one heat map: the last layer's direct map, or what there is."""
    count = _FRAGMENT_TOKENS
    cut = len(flow.tokens) > count or len(flow.targets) > count
    note = f"<p>The first {count} of {len(flow.tokens)} tokens; to_html(path) shows all.</p>" if cut else ""
    figure = _figure(flow, available(flow)[0], flow.layers[-1], count)
    legend = "<p>Rows: targets; columns: sources; per cent of a row. Dashed rows miss the tolerance.</p>"
    body = f"{_heading(flow)}{figure}{legend}{note}"
    return f'<div class="ligflow-static"><style>{_STYLE}</style>{body}</div>'


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


def _figure(flow: Flow, view: str, layer: int, count: int) -> str:
    """A heat map of the first `count` targets and columns."""
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
