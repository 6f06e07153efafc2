"""Flows on disk: one safetensors file with JSON metadata. Data, never code."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ligflow.errors import LigflowError
from ligflow.files import atomically
from ligflow.method.attention_parts import PARTS
from ligflow.results.flow_data import (
    CELL_DIMS,
    CELL_PARTS,
    CROSS_SPLIT,
    DIMS,
    SPLIT,
    SPLIT_ERROR,
    AnyFlow,
    FlowData,
)
from ligflow.results.flow_header import FLOW, Header, other_kind, wrong_field

FORMAT = 1


def save(flow: FlowData, path: str | Path) -> Path:
    """Writes the flow under a temporary name in the same folder, then renames it."""
    tensors = {name: tensor.contiguous() for name, tensor in flow.tensors.items()}
    return atomically(path, lambda scratch: save_file(tensors, scratch, metadata=header(flow)))


def header(flow: FlowData) -> dict[str, str]:
    """What a flow file says beside its tensors: labels and how it was computed, as JSON."""
    labels = {
        "format": FORMAT,
        "tokens": flow.tokens,
        "layers": list(flow.layers),
        "targets": list(flow.targets),
        "special": list(flow.special),
        "meta": dict(flow.meta),
    }
    return {FLOW: json.dumps(labels, ensure_ascii=False)}


def load(path: str | Path, kind: type[AnyFlow]) -> AnyFlow:
    """Reads a flow of class `kind` and checks that its parts fit together.

    Raises LigflowError if the file is missing, truncated, foreign, or from a newer format; it names the
    field or tensor that is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise LigflowError(f"There is no flow file {str(path)!r}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise LigflowError(
            f"{str(path)!r} is not a readable flow file (truncated or foreign): {error}"
        ) from error
    if other := other_kind(metadata, FLOW):
        raise LigflowError(f"{str(path)!r} {other}.")
    labels = _labels(metadata.get(FLOW), path)
    flow = kind(
        tokens=labels["tokens"],
        layers=tuple(labels["layers"]),
        targets=tuple(labels["targets"]),
        special=tuple(labels["special"]),
        tensors=tensors,
        meta=labels["meta"],
    )
    _check_parts(flow, path)
    return flow


def _labels(header: str | None, path: Path) -> dict[str, Any]:
    """The header, once all of its fields are of their types."""
    try:
        labels = json.loads(header or "")
    except (ValueError, RecursionError) as error:
        raise LigflowError(f"{str(path)!r} is a safetensors file, but not a ligflow flow.") from error
    if not isinstance(labels, dict) or not {"format", "tokens"} & {*labels}:
        raise LigflowError(f"{str(path)!r} is a safetensors file, but not a ligflow flow.")
    version = labels.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise LigflowError(
            f"{str(path)!r} has flow format {version}, and this version reads up to {FORMAT}; "
            "upgrade ligflow."
        )
    if wrong := wrong_field(Header, labels):
        raise LigflowError(f"{str(path)!r} is damaged: {wrong}.")
    return labels


def _check_parts(flow: FlowData, path: Path) -> None:
    """All tensors that the flow's maps need are there, in the sizes of its labels."""
    maps = [name for name in DIMS if name in flow.tensors]
    routes = [name for name in CELL_DIMS if name in maps]
    needed = [f"{route}.{part}" for route in routes for part in (*CELL_PARTS, "nodes")]
    needed += ["z2u.floor"] if "z2u" in maps else []
    routes_in_parts = ("z2u", "e2u") if flow.memory else ("z2u",)
    split = [f"{route}_{part}" for route in routes_in_parts for part in PARTS]
    needed += [*split, "z2u.floor", "z2u"] if {*split} & {*maps} else []
    by_head = (*SPLIT, *(CROSS_SPLIT if flow.memory else ()))
    needed += [*by_head, SPLIT_ERROR, "z2z"] if {*SPLIT, *CROSS_SPLIT} & {*maps} else []
    needed += ["u2z_residual"] if "u2z" in maps else []
    needed += _of_memory(maps) if flow.memory else []
    lost = sorted({*needed} - {*flow.tensors})
    lost += [route for route in flow.routes if route not in routes]
    if lost or not routes:
        raise LigflowError(f"{str(path)!r} is damaged: it holds no {', '.join(lost) or 'map'}.")
    sizes = {"layer": len(flow.layers), "target": len(flow.targets), "source": len(flow.tokens)}
    sizes |= {"memory": len(flow.memory), "head": _heads(flow, "z2u", "u2z", "z2z_heads")}
    sizes["cross_head"] = _heads(flow, "e2u", "u2z_cross", "z2z_cross_heads")
    own = next(flow.tensors[name].dtype for name in maps)
    for name, tensor in flow.tensors.items():
        dims = _dims(name)
        shape, kinds = tuple(sizes[dim] for dim in dims), _types(name, own)
        if dims and (tuple(tensor.shape) != shape or not tensor.numel()):
            raise LigflowError(f"{str(path)!r} is damaged: tensor {name!r} should have shape {shape}.")
        if dims and tensor.dtype not in kinds:
            wanted = " or ".join(str(kind).removeprefix("torch.") for kind in kinds)
            raise LigflowError(f"{str(path)!r} is damaged: tensor {name!r} should be {wanted}.")
        if dims and not torch.isfinite(tensor).all():
            raise LigflowError(f"{str(path)!r} is damaged: tensor {name!r} holds NaN or infinite entries.")


def _heads(flow: FlowData, *names: str) -> int:
    """The size of the axis of heads that some tensors share, by the first of them."""
    first = next((flow.tensors[name] for name in names if name in flow.tensors), None)
    return first.shape[1] if first is not None and first.ndim > 1 else 0


def _types(name: str, own: torch.dtype) -> tuple[torch.dtype, ...]:
    """The types in which a tensor may be stored, among maps of type `own`."""
    _, _, part = name.partition(".")
    single = (own,) if own in (torch.float32, torch.float64) else (torch.float32, torch.float64)
    return {"met": (torch.bool,), "nodes": (torch.int64,)}.get(part, single)


def _of_memory(maps: list[str]) -> list[str]:
    """What a flow whose layers attend to an encoder has beside its maps."""
    pairs = {"z2u": ("e2u", "e2u.floor"), "u2z": ("u2z_cross",), "z2z": ("z2z_cross",)}
    return [name for route, names in pairs.items() if route in maps for name in names]


def _dims(name: str) -> tuple[str, ...]:
    route, _, part = name.partition(".")
    if name in DIMS:
        return DIMS[name]
    if route == "composed":
        return DIMS["z2z"]
    if part == "nodes" or name == SPLIT_ERROR:
        return ("layer", "target")
    if part == "floor":
        return ("layer", "cross_head" if route == "e2u" else "head")
    return CELL_DIMS.get(route, ())
