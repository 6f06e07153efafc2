"""A flow as a table (pandas), as labelled arrays (xarray), or as a graph (networkx)."""

from collections.abc import Sequence

import networkx
import numpy as np
import pandas
import xarray
from torch import Tensor

from ligflow.results.flow_data import CELL_DIMS, DIMS, SPLIT, SPLIT_ERROR, FlowData

COLUMNS = (
    "route", "layer", "head", "target", "target_token", "source", "source_token",
    "value", "total", "certificate",
)  # fmt: skip


def to_pandas(flow: FlowData) -> pandas.DataFrame:
    """Long form: one row a cell of a map. For u2z the source is a head, or `residual` (head -1).

    What passes beside attention in z2z (`z2z_residual`) has the target as its source.
    """
    frames = [_frame(flow, name) for name in DIMS if name in flow.tensors]
    return pandas.concat(frames, ignore_index=True)[list(COLUMNS)]


def _frame(flow: FlowData, name: str) -> pandas.DataFrame:
    route = "u2z" if name == "u2z_residual" else name
    of_cells = next((whole for whole in ("z2u", "z2z") if name.startswith(f"{whole}_")), route)
    dims, cells = DIMS[name], CELL_DIMS[of_cells]
    names = pandas.Series(list(flow.tokens), dtype="string")
    labels = [list(_labels(flow, dim)) for dim in dims]
    frame = pandas.MultiIndex.from_product(labels, names=dims).to_frame(index=False)
    frame["value"] = flow.tensors[name].numpy().ravel()
    for part, values in (("total", flow.total(of_cells)), ("certificate", flow.certificate(of_cells))):
        frame[part] = _spread(values.numpy(), cells, dims, flow.tensors[name].shape)
    frame["route"] = route
    frame["target_token"] = names.take(frame["target"].to_numpy()).array
    if "source" in dims:
        frame["source_token"] = names.take(frame["source"].to_numpy()).array
    elif name == "u2z_residual":
        frame["source_token"], frame["head"] = "residual", -1
    elif name in SPLIT:
        frame["source"], frame["source_token"] = frame["target"], frame["target_token"]
    return frame.reindex(columns=list(COLUMNS)).astype(
        {"head": "Int64", "source": "Int64", "source_token": "string"}
    )


def _labels(flow: FlowData, dim: str) -> Sequence[int]:
    labels: dict[str, Sequence[int]] = {
        "layer": flow.layers,
        "target": flow.targets,
        "head": range(flow.heads),
    }
    return labels.get(dim, range(len(flow.tokens)))


def _spread(
    values: np.ndarray, cells: tuple[str, ...], dims: tuple[str, ...], shape: tuple[int, ...]
) -> np.ndarray:
    """Cell values repeated along the axes that a map has more."""
    index = tuple(slice(None) if dim in cells else None for dim in dims)
    return np.broadcast_to(values[index], shape).ravel()


def to_xarray(flow: FlowData) -> xarray.Dataset:
    """A dataset with a variable a map, and `<route>_total` and `<route>_certificate` beside it.

    Where z2z is by head, `z2z_split_error` is the estimated error of its parts.
    """
    variables = {name: (DIMS[name], flow.tensors[name].numpy()) for name in DIMS if name in flow.tensors}
    for route in flow.routes:
        variables[f"{route}_total"] = (CELL_DIMS[route], flow.total(route).numpy())
        variables[f"{route}_certificate"] = (CELL_DIMS[route], flow.certificate(route).numpy())
    if SPLIT_ERROR in flow.tensors:
        variables["z2z_split_error"] = (CELL_DIMS["z2z"], flow.split_error.numpy())
    used = {dim for dims, _ in variables.values() for dim in dims}
    coordinates = {dim: list(_labels(flow, dim)) for dim in used}
    labels = {"target_token": ("target", [flow.tokens[i] for i in flow.targets])}
    if "source" in used:
        labels["source_token"] = ("source", list(flow.tokens))
    return xarray.Dataset(
        variables, coords=coordinates | labels, attrs={"model": str(flow.meta.get("model"))}
    )


def to_networkx(flow: FlowData, layer: int) -> networkx.DiGraph:
    """Nodes `("z", i)`, `("u", h, j)`, `("z'", j)`; edge attribute `weight` is the signed attribution.

    Edges z -> u are z2u, u -> z' are u2z, z -> z' the residual's share of u2z. Needs both routes.
    """
    row = flow.row(layer)
    return _graph(flow, layer, weight=(flow.z2u[row], flow.u2z[row], flow.u2z_residual[row]))


def exact_graph(flow: FlowData, layer: int) -> networkx.DiGraph:
    """The same nodes and edges, of z2z by head: what passes an edge, and in `mlp` what then passes the MLP.

    What arrives at a head leaves it, and what arrives at `("z'", j)` is its row of z2z. Raises LigflowError
    for a flow without z2z by head.
    """
    row = flow.row(layer)
    heads, through = flow.z2z_heads[row], flow.z2z_mlp[row]
    return _graph(
        flow,
        layer,
        weight=(heads, heads.sum(-1), flow.z2z_residual[row]),
        mlp=(through, through.sum(-1), flow.z2z_residual_mlp[row]),
    )


def _graph(flow: FlowData, layer: int, **maps: tuple[Tensor, Tensor, Tensor]) -> networkx.DiGraph:
    """Edges z -> u, u -> z' and z -> z' with what maps hold of them."""
    graph = networkx.DiGraph(layer=layer, model=str(flow.meta.get("model")))
    held = {name: [part.tolist() for part in parts] for name, parts in maps.items()}
    for i, token in enumerate(flow.tokens):
        graph.add_node(("z", i), kind="z", token=token)
    for position, j in enumerate(flow.targets):
        graph.add_node(("z'", j), kind="z'", token=flow.tokens[j])
        graph.add_edge(("z", j), ("z'", j), **{n: past[position] for n, (_, _, past) in held.items()})
        for head in range(flow.heads):
            writes = {name: writes[head][position] for name, (_, writes, _) in held.items()}
            graph.add_node(("u", head, j), kind="u", token=flow.tokens[j], head=head)
            graph.add_edge(("u", head, j), ("z'", j), **writes)
            for i in range(len(flow.tokens)):
                reads = {name: reads[head][position][i] for name, (reads, _, _) in held.items()}
                graph.add_edge(("z", i), ("u", head, j), **reads)
    return graph
