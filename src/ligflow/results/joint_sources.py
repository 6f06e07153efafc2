"""A decoder's flow with one list of sources, for views, tables and files of cells.

The encoder's tokens follow the layer's own: sources, and never targets. The heads of the second attention
follow those of the first. A head sees one of the two sets; in the other its cells are 0.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from ligflow.method.attention_parts import PARTS
from ligflow.results.flow_data import CELL_PARTS, AnyFlow, FlowData

MARK = "e:"


def over_both(flow: AnyFlow) -> AnyFlow:
    """The same numbers over both sets of sources; a flow without a memory as it is."""
    memory = flow.memory
    if not memory:
        return flow
    special = tuple(bool(mark) for mark in flow.meta.get("memory_special", [False] * len(memory)))
    kept = {key: value for key, value in flow.meta.items() if key not in _DROPPED}
    notes = [*kept.get("notes", []), *_note(flow)]
    return replace(
        flow,
        tokens=[*flow.tokens, *(f"{MARK}{token}" for token in memory)],
        special=(*flow.special, *special),
        tensors=_tensors(flow),
        meta=kept | {"notes": notes},
    )


# of the flow's own tokens alone, so that words are not known for all sources
_DROPPED = ("memory", "memory_special", "words", "word_labels", "word_places")


def _note(flow: FlowData) -> list[str]:
    notes = [f"tokens with {MARK} are the encoder's: sources, which no row is about"]
    if flow.cross_heads:
        last = flow.heads + flow.cross_heads - 1
        notes.append(f"heads {flow.heads} to {last} are those of the second attention, to the encoder")
    return notes


def _tensors(flow: FlowData) -> dict[str, Tensor]:
    own, memory, tensors = len(flow.tokens), len(flow.memory), dict(flow.tensors)
    if "z2z_cross" in tensors:
        tensors["z2z"] = torch.cat([tensors["z2z"], tensors.pop("z2z_cross")], dim=-1)
    if "u2z_cross" in tensors:
        tensors["u2z"] = torch.cat([tensors["u2z"], tensors.pop("u2z_cross")], dim=1)
    for name in ("heads", "mlp"):
        if f"z2z_cross_{name}" in tensors:
            both = pad(tensors[f"z2z_{name}"], (0, memory)), pad(tensors.pop(f"z2z_cross_{name}"), (own, 0))
            tensors[f"z2z_{name}"] = torch.cat(both, dim=1)
    if "e2u" in tensors:
        split = [f"_{part}" for part in PARTS if f"e2u_{part}" in tensors]
        for name in ("", *split):
            both = pad(tensors[f"z2u{name}"], (0, memory)), pad(tensors.pop(f"e2u{name}"), (own, 0))
            tensors[f"z2u{name}"] = torch.cat(both, dim=1)
        for part in (*CELL_PARTS, "floor"):
            pair = tensors[f"z2u.{part}"], tensors.pop(f"e2u.{part}")
            tensors[f"z2u.{part}"] = torch.cat(pair, dim=1)
        tensors["z2u.nodes"] = torch.maximum(tensors["z2u.nodes"], tensors.pop("e2u.nodes"))
    return tensors
