"""By which ways a layer moved a token: through heads or past attention, then through the MLP or past it."""

import torch
from rich.table import Table
from rich.text import Text

from ligflow.results.flow_data import FlowData
from ligflow.view.highlights import named

_HEADS = 5


def heads_by_way(flow: FlowData, layer: int, target: int, count: int = _HEADS) -> Table:
    """The heads that most of z2z passes, each with its share of the move, and how much then passes the MLP.

    The share of a head is `Σ_k E_hk / Σ_k |z2z_k|`, with its sign; that of the MLP is in absolute values,
    `Σ_k |through_k| / Σ_k (|through_k| + |beside_k|)`. What passes attention follows, and the estimated error
    of all parts together. Raises LigflowError for a flow without z2z by head.
    """
    row, place = flow.row(layer), flow.targets.index(target)
    heads, through = (part[row, :, place].double() for part in (flow.z2z_heads, flow.z2z_mlp))
    past, past_mlp = (part[row, place].double() for part in (flow.z2z_residual, flow.z2z_residual_mlp))
    whole = flow.z2z[row, place].double().abs().sum().clamp(min=1e-300)
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold", pad_edge=False)
    table.add_column(Text(f"layer {layer}, at {named(flow, target)}"), overflow="fold")
    for name in ("of its move", "through the MLP"):
        table.add_column(name, justify="right", no_wrap=True)
    sizes = heads.abs().sum(-1)
    for head in sizes.topk(min(count, len(sizes))).indices.tolist():
        if float(sizes[head]):
            source = named(flow, int(heads[head].abs().argmax()))
            table.add_row(
                Text(f"head {head}, most from {source}"),
                *_shares(heads[head].sum() / whole, through[head], heads[head] - through[head]),
            )
    if float(past.abs() + past_mlp.abs()):
        table.add_row(
            Text("past attention, from itself"),
            *_shares(past / whole, past_mlp[None], (past - past_mlp)[None]),
        )
    error = float(flow.split_error[row, place]) * float(flow.tensors["z2z.scale"][row, place])
    if error:
        size = 100 * error / float(whole)
        table.add_row(
            Text("estimated error, all parts together"), f"{size:.1g}%" if size < 1 else f"{size:.0f}%", ""
        )
    return table


def _shares(move: torch.Tensor, through: torch.Tensor, beside: torch.Tensor) -> tuple[str, str]:
    mlp, rest = float(through.abs().sum()), float(beside.abs().sum())
    return f"{round(100 * float(move))}%", f"{round(100 * mlp / max(mlp + rest, 1e-300))}%"
