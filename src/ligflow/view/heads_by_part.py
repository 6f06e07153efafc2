"""How the heads of a layer came to move a token: by what was read, where it was found, what was asked."""

import torch
from rich.table import Table
from rich.text import Text

from ligflow.results.flow_data import FlowData
from ligflow.view.highlights import named

_HEADS = 5


def heads_by_part(flow: FlowData, layer: int, target: int, count: int = _HEADS) -> Table:
    """The heads that moved a target most, each with the shares that value, key and query have in its parts.

    `Σ_k |value_k| / Σ_k (|value_k| + |key_k| + |query_k|)`, and so on; with them the source whose value is
    largest. Raises LigflowError for a flow without parts.
    """
    row, place = flow.row(layer), flow.targets.index(target)
    parts = [part[row, :, place].double() for part in (flow.parts.value, flow.parts.key, flow.parts.query)]
    sizes = torch.stack([part.abs().sum(-1) for part in parts])
    whole = sizes.sum(0).clamp(min=1e-300)
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold", pad_edge=False)
    table.add_column(Text(f"layer {layer}, at {named(flow, target)}"), overflow="fold")
    for name in ("read (value)", "found (key)", "asked (query)"):
        table.add_column(name, justify="right", no_wrap=True)
    moved = flow.total("z2u")[row, :, place].double().abs()
    for head in moved.topk(min(count, len(moved))).indices.tolist():
        if not float(moved[head]):
            continue
        source = named(flow, int(parts[0][head].abs().argmax()))
        shares = (f"{100 * float(size[head] / whole[head]):.0f}%" for size in sizes)
        table.add_row(Text(f"head {head}, most from {source}"), *shares)
    return table
