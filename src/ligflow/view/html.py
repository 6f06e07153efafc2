"""A flow as a small piece of static HTML, for notebooks without the widget. All text is escaped."""

from html import escape

from ligflow.inputs.labels import printable, trimmed
from ligflow.names import NEEDS
from ligflow.results.flow_data import FlowData
from ligflow.view.colour import on, shade
from ligflow.view.completeness import verdict
from ligflow.view.highlights import Highlights, highlights, sentences, stands_aside, without
from ligflow.view.measure_words import whole_row
from ligflow.view.select import select

_FRAGMENT_TOKENS = 32
_STYLE = """
.ligflow-static { font: 13px/1.4 system-ui, sans-serif; color: #111; background: #fff; }
.ligflow-static table { border-collapse: collapse; margin: 4px 0 12px; }
.ligflow-static th { font-weight: 500; padding: 1px 4px; text-align: right; white-space: pre; }
.ligflow-static thead th { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; }
.ligflow-static td { min-width: 22px; height: 20px; padding: 0 2px; text-align: right; font-size: 10px; }
.ligflow-static td.unmet { outline: 2px dashed #c00; outline-offset: -2px; }
.ligflow-static figure { margin: 0 0 8px; } .ligflow-static figcaption { font-weight: 600; }
.ligflow-static ul { list-style: none; margin: 0 0 8px; padding: 0; } .ligflow-static p { margin: 0 0 8px; }
"""


def fragment(flow: FlowData) -> str:
    """What the flow shows first: a map without the sources that stand aside, its findings, one verdict."""
    opening = highlights(flow)
    count = _FRAGMENT_TOKENS
    cut = len(flow.tokens) > count or len(flow.targets) > count
    note = f"<p>The first {count} of {len(flow.tokens)} tokens; to_html(path) shows all.</p>" if cut else ""
    aside = f"; hidden: {escape(stands_aside(flow, opening))}" if opening.hidden else ""
    row = whole_row(flow, "the row's token")
    legend = (
        f"<p>Rows: targets; columns: {'heads' if opening.view == 'u2z' else 'sources'}; % of "
        f"{row}{aside}. Dashed rows have not converged.</p>"
    )
    findings = "".join(f"<li>{escape(line)}</li>" for line in sentences(flow, opening))
    body = f"{_figure(flow, opening, count)}{legend}{note}<ul>{findings}</ul>{_certificate(flow)}"
    return f'<div class="ligflow-static"><style>{_STYLE}</style>{body}</div>'


def _certificate(flow: FlowData) -> str:
    """One line: what is certified, of which model."""
    notes = "".join(f"<p>note: {escape(note)}</p>" for note in flow.meta.get("notes", []))
    return f"<p>{escape(verdict(flow))} ({escape(printable(str(flow.meta.get('model'))))})</p>{notes}"


def _figure(flow: FlowData, opening: Highlights, count: int) -> str:
    """A heat map of the first `count` targets and columns that are shown."""
    values, names, title = select(flow, opening.view, opening.layer, None)
    bad = {
        cell.target
        for cell in flow.unmet
        if cell.route in NEEDS[opening.view] and cell.layer == opening.layer
    }
    places = [place for place in range(len(names)) if place not in opening.hidden][:count]
    head = "".join(f"<th>{escape(names[place])}</th>" for place in places)
    shares = without(values, opening.hidden)[:count, places].tolist()
    rows = "".join(
        _row(flow, target, share, value, target in bad)
        for target, share, value in zip(flow.targets, shares, values[:count, places].tolist(), strict=False)
    )
    table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<figure><figcaption>{escape(title)}</figcaption>{table}</figure>"


def _row(flow: FlowData, target: int, shares: list[float], values: list[float], bad: bool) -> str:
    mark = ' class="unmet"' if bad else ""
    cells = "".join(
        f'<td{mark} style="background:{(ink := shade(share))};color:{on(ink)}" title="{value:.4g}">'
        f"{f'{100 * share:.0f}' if round(100 * share) else ''}</td>"
        for share, value in zip(shares, values, strict=True)
    )
    return f"<tr><th>{escape(trimmed(flow.tokens[target]))}</th>{cells}</tr>"
