"""From the attributions of the layers to a Flow, with the notes that its readers need."""

from typing import Any

import torch
import transformers
from torch import Tensor

from ligflow._version import __version__
from ligflow.errors import CompletenessWarning, UnsupportedModel, warn
from ligflow.explainer.example import Example, Results
from ligflow.explainer.placement import Placement
from ligflow.flow import Flow
from ligflow.layer.layer import Layer
from ligflow.method.attention import attention_weights
from ligflow.method.attention_parts import PARTS
from ligflow.method.baselines import Mean
from ligflow.recording.call import takes_encoded
from ligflow.routes.attribution import Attribution
from ligflow.settings import Settings


def assemble(example: Example, results: Results, settings: Settings, **more: Any) -> Flow:
    """The labelled result, with `more` in its metadata; warns (CompletenessWarning) about unmet cells."""
    return warn_unmet(_flow_of(example, results, settings, example.about | more))


def _flow_of(example: Example, results: Results, settings: Settings, about: dict[str, Any]) -> Flow:
    tensors: dict[str, Tensor] = {}
    tokens, layers = example.tokens, example.layers
    for route in results[0]:
        cross = layers[0].findings.cross_heads if example.encoder_tokens is not None else 0
        split = cross if route == "u2z" else len(tokens.labels)
        tensors |= _stack(route, [result[route] for result in results], split)
    meta = about | dict(tokens.layout) | {
        "text": tokens.text,
        "words": None if tokens.words is None else list(tokens.words),
        "word_labels": list(tokens.word_labels),
        "word_places": list(tokens.word_places),
        "settings": settings.describe(memory=example.encoder_tokens is not None),
        "dtype": str(layers[0].hidden.dtype).removeprefix("torch."),
        "versions": {
            "ligflow": __version__, "torch": torch.__version__, "transformers": transformers.__version__,
        },
        "shortcuts": {str(layer.index): _closed_form(layer) for layer in layers},
        "notes": [*example.notes, *_notes(layers, settings, example.placement, results)],
    }  # fmt: skip
    if (encoder := example.encoder_tokens) is not None:
        meta |= {"memory": list(encoder.labels), "memory_special": list(encoder.special)}
    indices = tuple(layer.index for layer in layers)
    return Flow(list(tokens.labels), indices, tuple(example.targets), tokens.special, tensors, meta)


def _stack(route: str, parts: list[Attribution], split: int) -> dict[str, Tensor]:
    """The layers' attributions as the tensors of a flow, on the CPU.

    `split` is the number of heads of a second attention, or of the layer's own tokens among the sources.
    """
    try:
        values = torch.stack([part.value for part in parts])
    except RuntimeError as error:
        raise UnsupportedModel(
            "The chosen layers have different numbers of heads; explain them apart."
        ) from error
    hidden = [torch.zeros_like(p.total) if p.hidden is None else p.hidden for p in parts]
    cells = {
        "total": [part.total for part in parts],
        "scale": [part.scale for part in parts],
        "residue": [p.value.sum(-1) + padding - p.total for p, padding in zip(parts, hidden, strict=True)],
        "error": [part.error * part.scale for part in parts],
        "origin": [part.origin * part.scale for part in parts],
        "met": [part.met for part in parts],
    }
    if any(part.jump is not None for part in parts):
        cells["jump"] = [torch.zeros_like(p.total) if p.jump is None else p.jump * p.scale for p in parts]
    if any(part.hidden is not None for part in parts):
        cells["hidden"] = hidden
    stacked = {name: torch.stack(cell).transpose(1, 2) for name, cell in cells.items()}
    nodes = torch.stack([part.nodes for part in parts])
    if route in ("z2u", "e2u"):
        maps = {
            route: values.transpose(1, 2),
            f"{route}.floor": torch.stack([part.floor[0] for part in parts]),
        }
        maps |= _parts_of_edges(route, parts)
    else:
        stacked = {name: cell[:, 0] for name, cell in stacked.items()}
        maps = (_own_and_memory if route == "z2z" else _heads_and_residual)(values[:, :, 0], split)
        maps |= _by_head(parts)
    named = {f"{route}.{name}": cell for name, cell in stacked.items()}
    tensors = maps | named | {f"{route}.nodes": nodes}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _parts_of_edges(route: str, attributions: list[Attribution]) -> dict[str, Tensor]:
    """The maps of a route by value, key and query, where they were asked for."""
    parts = [each.parts for each in attributions if each.parts is not None]
    if not parts:
        return {}
    by_part = torch.stack(parts).permute(3, 0, 2, 1, 4)
    return {f"{route}_{name}": part for name, part in zip(PARTS, by_part, strict=True)}


def _own_and_memory(sources: Tensor, own: int) -> dict[str, Tensor]:
    memory = {"z2z_cross": sources[..., own:]} if sources.shape[-1] > own else {}
    return {"z2z": sources[..., :own]} | memory


def _heads_and_residual(players: Tensor, cross: int) -> dict[str, Tensor]:
    heads, residual = players[..., :-1].transpose(1, 2), players[..., -1]
    own = heads.shape[1] - cross
    second = {"u2z_cross": heads[:, own:]} if cross else {}
    return {"u2z": heads[:, :own], "u2z_residual": residual} | second


def _by_head(attributions: list[Attribution]) -> dict[str, Tensor]:
    """z2z by head, with what of it passes through the MLP, where it was asked for."""
    every = [each.heads for each in attributions if each.heads is not None]
    if not every:
        return {}
    try:
        heads = torch.stack([each.heads for each in every]).permute(2, 0, 3, 1, 4)
    except RuntimeError as error:
        raise UnsupportedModel(
            "The chosen layers have different numbers of heads; explain them apart."
        ) from error
    residual = torch.stack([each.residual for each in every]).movedim(2, 0)
    errors = [e.heads.error * e.scale[:, 0] for e in attributions if e.heads is not None]
    maps = {
        "z2z_heads": heads.sum(0), "z2z_mlp": heads[0], "z2z_residual": residual.sum(0),
        "z2z_residual_mlp": residual[0], "z2z_heads.error": torch.stack(errors),
    }  # fmt: skip
    cross = [each.cross for each in every if each.cross is not None]
    if cross:
        both = torch.stack(cross).permute(2, 0, 3, 1, 4)
        maps |= {"z2z_cross_heads": both.sum(0), "z2z_cross_mlp": both[0]}
    return maps


def _closed_form(layer: Layer) -> str:
    """The name of a layer's closed form, '' if it has none."""
    form = layer.findings.closed_form
    return "" if form is None else form.name


def _notes(
    layers: list[Layer], settings: Settings, placement: Placement, results: list[dict[str, Attribution]]
) -> list[str]:
    """What a reader of the numbers must know about the settings."""
    notes = [
        f"layer {layer.index}: projections are computed at every point, since {why}"
        for layer in layers
        if (why := layer.findings.no_closed_form)
    ]
    notes += [
        f"layer {layer.index}: z2u and z2z are plain autograd through its attention as a whole, since "
        f"{layer.findings.reason}"
        for layer in layers
        if layer.mode == "coupled"
    ]
    notes += [
        f"layer {layer.index}: the encoder's tokens are held, and are no sources, since "
        f"{layer.findings.reason}"
        for layer in layers
        if layer.mode == "whole" and takes_encoded(layer.arguments)
    ]
    shared = [str(layer.index) for layer in layers if layer.findings.shared_keys]
    if shared:
        notes.append(
            "keys and values that another layer made stay as they are, so that a token's own query is all "
            f"that moves what its heads give: layers {', '.join(shared)}"
        )
    at_softmax = [str(layer.index) for layer in layers if layer.forms and layer.mode != "whole"]
    if at_softmax:
        notes.append(f"attention off the interface, seen at its softmax: layers {', '.join(at_softmax)}")
    notes += [note for route in results[0] if (note := _of_jumps(route, results))]
    notes += [note for route in results[0] if (note := _of_padding(route, results))]
    for note in dict.fromkeys(layer.note for layer in layers if layer.note):
        notes.append(f"{note}: layers {', '.join(str(one.index) for one in layers if one.note == note)}")
    for route in results[0]:
        flips = sum(int(f.sum()) for result in results if (f := result[route].flipped) is not None)
        rows = sum(result[route].total.numel() for result in results)
        if flips:
            notes.append(f"{route}: a self share above 1 turned the signs of {flips} of {rows} rows")
    both = {"z2u", "u2z"} <= set(settings.routes)
    if both and (kind := settings.scalarization_of("z2u").cancels):
        notes.append(f"composed: under {kind} a head's sources may cancel, and its shares grow large")
    if Mean() in (settings.att_baseline, settings.layer_baseline) and _is_causal(layers[0], placement):
        notes.append(
            "causal model: the sentence mean lets later tokens into the baseline; a corpus mean does not"
        )
    return notes


def _of_padding(route: str, results: list[dict[str, Attribution]]) -> str:
    """How much of a row padding holds at most, where a mask does not keep it out."""
    parts = [
        float((one.hidden.abs() / one.scale).max())
        for result in results
        if (one := result[route]).hidden is not None
    ]
    if not parts:
        return ""
    return (
        f"{route}: padding takes part in what the layers make of other tokens, with up to {max(parts):.0%} "
        "of a row, which flow.hidden holds: it is no source here. Inputs without padding have none"
    )


def _of_jumps(route: str, results: list[dict[str, Attribution]]) -> str:
    """How many targets of a route change experts on their paths, and how far F jumps there."""
    if any(result[route].unlocated is not None for result in results):
        return (
            f"{route}: attention chooses experts too, so that where they change on the paths, and F jumps, "
            "is not listed; the certificates alone tell of jumps, and experts='frozen' holds experts"
        )
    jumping = [(one.jump, one.met) for result in results if (one := result[route]).jump is not None]
    sizes = [float(jump) for jumps, _ in jumping for jump in jumps[jumps > 0]]
    if not sizes:
        return ""
    within = sum(int(met[jumps > 0].sum()) for jumps, met in jumping)
    return (
        f"{route}: the experts of {len(sizes)} targets change on the path, where the output jumps by up to "
        f"{max(sizes):.1e} of the total, which no integral sees ({within} of them are within the tolerance "
        "all the same): all are in flow.routing_changes; experts='frozen' holds experts"
    )


def _is_causal(layer: Layer, placement: Placement) -> bool:
    if layer.mode != "split" or len(layer.hidden) == 1:
        return False
    with placement.ready_for(layer), torch.no_grad():
        seen = layer.capture(layer.hidden[None])
        return bool(attention_weights(seen.query, seen.key, seen.form).p.triu(1).max() == 0)


def describe_unmet(flow: Flow) -> str:
    """How many cells miss the tolerance, which is the worst, and what to do."""
    cells = flow.unmet
    worst = max(cells, key=lambda cell: abs(cell.certificate) + cell.estimated_error)
    head = "" if worst.head is None else f", head {worst.head}"
    return (
        f"{len(cells)} cells miss the tolerance; the worst is {worst.route}, layer {worst.layer}{head}, "
        f"target {worst.target} ({worst.token!r}): certificate {worst.certificate:.1e}, estimated error "
        f"{worst.estimated_error:.1e}. All are in flow.unmet. Raise max_nodes, or choose another baseline; "
        "where that does not help, the layer jumps on the path (experts='frozen' holds choices of a mixture "
        "of experts), or float32 is too coarse for what is left of the total (load the model in float64)."
    )


def warn_unmet(flow: Flow) -> Flow:
    """The flow; warns (CompletenessWarning) when cells miss the tolerance."""
    if flow.unmet:
        warn(describe_unmet(flow), CompletenessWarning)
    return flow
