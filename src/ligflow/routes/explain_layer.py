"""The three routes of one layer under given settings: baselines turned into paths, and corrected."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.experts import count_of_choices
from ligflow.layer.float64 import keep_double
from ligflow.layer.layer import Layer
from ligflow.method.attention import attention_weights
from ligflow.method.baselines import Baseline, Start, cross_start, source_start
from ligflow.method.ratio_corrections import map_ratio, self_share, zero_ratio
from ligflow.method.scalarization import Direction, Scalarization
from ligflow.paths.attention_path import AttentionPath, attention_path
from ligflow.paths.batch import LayerBatch, frozen, padded, starts_together, together
from ligflow.paths.cross_attention import CrossPath, attended, cross_path
from ligflow.routes import autograd, integration
from ligflow.routes.integration import attribute
from ligflow.routes.jumps import jumps
from ligflow.routes.path_map import Attribution, PathMap, Players
from ligflow.settings import Settings

_RATIOS = ("itb_zero_ratio", "itb_map_ratio")
_ALONG = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, eq=False)
class Selection:
    """Which tokens of a layer are asked about: the unpadded ones, and the targets among them.

    `memory` are the unpadded tokens of the encoder that the layer attends to, if it does.
    """

    visible: Int[Tensor, " visible"]
    targets: Int[Tensor, " target"]
    memory: Int[Tensor, " memory"] | None = None

    def on(self, device: torch.device) -> "Selection":
        """The same on a device."""
        memory = None if self.memory is None else self.memory.to(device)
        return Selection(self.visible.to(device), self.targets.to(device), memory)

    def sources(self, route: str, tokens: int) -> Int[Tensor, " shown"]:
        """The sources of a route that are not padding: those of the memory follow the layer's own."""
        if self.memory is None or route == "z2u":
            return self.visible
        return self.memory if route == "e2u" else torch.cat([self.visible, tokens + self.memory])


@dataclass(frozen=True, eq=False)
class Workspace:
    """A layer on some sentences, and what was computed for it so far, for the settings that share it."""

    sentences: LayerBatch
    tokens: tuple[Selection, ...]
    done: dict[Any, Any] = field(default_factory=dict)

    @property
    def rows(self) -> Int[Tensor, " row"]:
        """The targets of all sentences."""
        length = self.sentences.tokens
        return torch.cat([each.targets + number * length for number, each in enumerate(self.tokens)])

    @property
    def owner(self) -> Int[Tensor, " row"]:
        """The sentence that each target is in."""
        return self.rows // self.sentences.tokens

    def once(self, key: Any, compute: Callable[[], Any]) -> Any:
        """The result of `compute`, kept under `key`."""
        if key not in self.done:
            self.done[key] = compute()
        return self.done[key]

    def start(self, baseline: Baseline) -> Start:
        """Where the sources start."""
        layers = zip(self.sentences.layers, self.tokens, strict=True)
        starts = [source_start(baseline, layer.hidden, each.visible) for layer, each in layers]
        return starts_together(starts, self.sentences.tokens)

    def path(self, baseline: Baseline) -> AttentionPath:
        """Attention along the paths of a baseline."""
        return self.once(
            ("path", _key(baseline)), lambda: attention_path(self.sentences, self.start(baseline))
        )

    def z2u(self, baseline: Baseline) -> PathMap:
        """Attention alone from a baseline; by plain autograd where it is one map of all tokens."""
        layer = self.sentences.layers[0]
        if layer.entangled:
            return autograd.z2u(layer, self.start(baseline))
        return integration.z2u(self.path(baseline))

    def z2z(self, baseline: Baseline, cross: CrossPath | None = None) -> PathMap:
        """The whole layer from a baseline, by the same rule."""
        layer = self.sentences.layers[0]
        if layer.entangled:
            return autograd.z2z(layer, self.start(baseline), held=self.sentences.held)
        return integration.z2z(self.path(baseline), cross)

    def u_at(self, baseline: Baseline, node: float) -> Float[Tensor, "row head value_dim"]:
        """`u_j(a)` for the targets, e.g. `u_j(0) = ATT_j({z_k(0; j)}_k)`; other rows are 0 and unused."""
        found = integration.image_at(self.z2u(baseline), node, self.rows).to(self.sentences.z)
        whole = found.new_zeros(len(self.sentences.z), *found.shape[1:])
        return whole.index_copy(0, self.rows, found)

    def cross(self, baseline: Baseline) -> CrossPath | None:
        """The second attention along the path of its memory; None where the layer has none."""
        (layer, *_), (each, *_) = self.sentences.layers, self.tokens
        if not layer.memory or each.memory is None:
            return None
        start = cross_start(baseline, layer.encoded, each.memory)
        return self.once(("cross", _key(baseline)), lambda: cross_path(layer, start))

    def starts_flat(self, baseline: Baseline) -> bool:
        """Whether the direction of `u(a) - u(0)` would drown in float32 rounding near the start.

        From the mean of the sources u leaves with slope 0 (what they add cancels) and grows like a^2.
        """
        shared, z = isinstance(baseline, Tensor) or baseline == "mean", self.sentences.z
        return shared and z.dtype == torch.float32 and z.device.type != "mps"

    def z2u_as_integrated(self, baseline: Baseline) -> PathMap:
        """z2u as it is integrated: on a float64 copy of the layer where it starts flat."""
        return self.double().z2u(baseline) if self.starts_flat(baseline) else self.z2u(baseline)

    def cross_in_double(self, baseline: Baseline) -> CrossPath | None:
        """The second attention along its path, on a float64 copy of the layer."""
        return self.once(("cross double", _key(baseline)), lambda: self.double().cross(baseline))

    def double(self) -> "Workspace":
        """The same on a float64 copy of the layer, in which nothing starts flat."""

        def build() -> Workspace:
            first, *others = self.sentences.layers
            first = first.in_double()
            return Workspace(together([first, *(one.in_double(first.module) for one in others)]), self.tokens)

        with keep_double():
            return self.once("double", build)


def explain_layer(layer: Layer, settings: Settings, tokens: Selection) -> dict[str, Attribution]:
    """Every route of the settings, as attributions over all sources of the layer (padding included)."""
    return explain_together([layer], [settings], [tokens])[0][0]


def explain_together(
    layers: Sequence[Layer], settings: Sequence[Settings], tokens: Sequence[Selection]
) -> list[list[dict[str, Attribution]]]:
    """One layer on several sentences: for each of the settings, for each sentence, every route.

    What settings have in common is computed once.
    """
    sentences, places = together(layers), tuple(each.on(layers[0].hidden.device) for each in tokens)
    works = {
        experts: Workspace(frozen(sentences) if experts == "frozen" else sentences, places)
        for experts in dict.fromkeys(asked.experts for asked in settings)
    }
    routes = {"z2u": _z2u, "u2z": _u2z, "z2z": _z2z}
    found = []
    for asked in settings:
        work = works[asked.experts]
        _check_encoder_baseline(work, asked)
        _check_budget(work, asked)
        whole = {route: routes[route](work, asked) for route in asked.routes}
        if "z2u" in asked.routes and layers[0].memory and tokens[0].memory is not None:
            whole["e2u"] = _e2u(work, asked)
        found.append([_of_sentence(whole, work, number) for number in range(len(layers))])
    return found


def _check_encoder_baseline(work: Workspace, settings: Settings) -> None:
    """Raises LigflowError for a start of the encoder's tokens where they are no sources."""
    given = settings.encoder_baseline
    if any(each.memory is None for each in work.tokens) and (isinstance(given, Tensor) or given != "mean"):
        raise LigflowError(
            f"encoder_baseline does nothing in layer {work.sentences.layers[0].index}: the tokens of an "
            "encoder are no sources here. Leave it out, or explain a decoder: Explainer(model, stack=...)."
        )


def _check_budget(work: Workspace, settings: Settings) -> None:
    """Raises LigflowError, with the least that works, for a budget under one target at one point."""
    budget, first = settings.memory_budget, work.sentences.layers[0]
    if budget is None or first.refusal:
        return
    maps = {
        "z2u": lambda: work.z2u_as_integrated(_underlying(settings.att_baseline)),
        "u2z": lambda: integration.u2z(work.sentences, players_of(work, settings)),
        "z2z": lambda: work.z2z(_underlying(settings.layer_baseline)),
    }
    least = max(maps[route]().least_budget for route in settings.routes)
    if budget < least:
        raise LigflowError(
            f"memory_budget is {budget} bytes, and one target at one point of its path takes {least} in "
            f"layer {first.index}. Give at least that, or explain a shorter text."
        )


def _of_sentence(whole: dict[str, Attribution], work: Workspace, number: int) -> dict[str, Attribution]:
    if len(work.tokens) == 1:
        return whole
    mine, tokens = work.owner == number, len(work.sentences.layers[number].hidden)
    return {route: _rows_of(found, mine, route, tokens) for route, found in whole.items()}


def _rows_of(found: Attribution, mine: Tensor, route: str, tokens: int) -> Attribution:
    parts: dict[str, Any] = dict(vars(found))
    for name, part in parts.items():
        if isinstance(part, Tensor):
            parts[name] = part[mine]
    if route != "u2z":
        parts["value"] = parts["value"][..., :tokens]
    return Attribution(**parts)


def shown_attention(layer: Layer, targets: Int[Tensor, " target"]) -> Float[Tensor, "target head source"]:
    """The model's own attention weights alpha."""
    with torch.no_grad():
        seen = layer.capture(layer.hidden[None])
        if layer.calls or seen.key.shape[2] != len(layer.hidden):
            raise UnsupportedModel(
                f"Layer {layer.index} has no attention weights from token to token: {layer.entangled}."
            )
        return attention_weights(seen.query, seen.key, seen.form).p[0].transpose(0, 1)[targets]


def u_end(layer: Layer) -> Float[Tensor, "token head value_dim"]:
    """u of the real input."""
    with torch.no_grad():
        return layer.attend(layer.hidden[None])[0]


# --- z2u and z2z ----------------------------------------------------------------------------------


def _z2u(work: Workspace, settings: Settings) -> Attribution:
    def run(baseline: Baseline) -> Attribution:
        return work.once(("z2u", *_key_of(settings, "z2u", baseline)), lambda: _run(baseline))

    def _run(baseline: Baseline) -> Attribution:
        if work.sentences.z.dtype != torch.float32 or work.sentences.z.device.type == "mps":
            return _attribute(work.z2u(baseline), settings, work, "z2u")
        if work.starts_flat(baseline):
            return _in_single(_in_double(baseline, settings, work))
        back, floor = _coming_back(work.z2u(baseline), work, settings)
        return _in_single(_back_in_double(baseline, settings, work, back, floor))

    return _with_correction(run, settings.att_baseline, work)


def _e2u(work: Workspace, settings: Settings) -> Attribution:
    """The second attention, in float64 where there is one: from the mean of its memory u starts flat."""
    key = ("e2u", *_key_of(settings, "z2u", settings.encoder_baseline))
    if work.sentences.z.dtype != torch.float32 or work.sentences.z.device.type == "mps":
        route = integration.e2u(_there(work.cross(settings.encoder_baseline)))
        return work.once(key, lambda: _attribute(route, settings, work, "z2u"))

    def run() -> Attribution:
        with keep_double():
            route = integration.e2u(_there(work.cross_in_double(settings.encoder_baseline)))
            found = _attribute(route, settings, work, "z2u")
        return _in_single(found)

    return work.once(key, run)


def _there(path: CrossPath | None) -> CrossPath:
    assert path is not None  # only layers with a memory are asked
    return path


def _in_double(
    baseline: Baseline,
    settings: Settings,
    work: Workspace,
    rows: Tensor | None = None,
    floor: Tensor | None = None,
) -> Attribution:
    """z2u on a float64 copy of the layer."""
    with keep_double():
        route = work.double().z2u(baseline)
        return _attribute(route, settings, work, "z2u", rows=rows, floor=floor)


def _coming_back(route: PathMap, work: Workspace, settings: Settings) -> tuple[Tensor, Tensor]:
    """Targets with a head that leaves its start and comes back, whose direction then drowns in rounding.

    An example is a token that at both ends attends to nothing but itself. With it, the size under which
    a total is rounding.
    """
    at = [integration.image_at(route, node, work.rows, settings.memory_budget) for node in _ALONG]
    floor = integration.floor_of(at[-1], work.owner)
    far = torch.stack([(one - at[0]).norm(dim=-1) for one in at[1:]])
    return ((far[-1] < floor) & (far.amax(dim=0) > floor)).any(dim=-1), floor


def _back_in_double(
    baseline: Baseline, settings: Settings, work: Workspace, back: Tensor, floor: Tensor
) -> Attribution:
    """z2u, where the targets that come back are integrated in float64."""
    parts, places = [], []
    for double in (False, True):
        rows = (back == double).nonzero()[:, 0]
        if not len(rows):
            continue
        places.append(rows)
        if double:
            parts.append(_in_double(baseline, settings, work, rows, floor[rows]))
        else:
            route = work.z2u(baseline)
            parts.append(_attribute(route, settings, work, "z2u", rows=rows, floor=floor[rows]))
    return _merged(parts, torch.cat(places).argsort())


def _merged(parts: Sequence[Attribution], order: Tensor) -> Attribution:
    """The targets of all parts, in order."""
    if len(parts) == 1:
        return parts[0]
    columns = zip(*(vars(part).items() for part in parts), strict=True)
    found: dict[str, Any] = {
        column[0][0]: torch.cat([value for _, value in column])[order] if column[0][1] is not None else None
        for column in columns
    }
    return Attribution(**found)


def _in_single(found: Attribution) -> Attribution:
    parts: dict[str, Any] = dict(vars(found))
    for name, part in parts.items():
        if isinstance(part, Tensor) and part.is_floating_point():
            parts[name] = part.float()
    return Attribution(**parts)


def _z2z(work: Workspace, settings: Settings) -> Attribution:
    def run(baseline: Baseline) -> Attribution:
        start = _start_key(work, settings, _key(baseline))
        return work.once(("z2z", start, *_key_of(settings, "z2z", baseline)), lambda: _run(baseline))

    def _run(baseline: Baseline) -> Attribution:
        first = work.sentences.layers[0]
        if not first.refusal:
            if first.memory and work.starts_flat(settings.encoder_baseline):
                return _whole_in_double(baseline, settings, work)
            route = work.z2z(baseline, work.cross(settings.encoder_baseline))
            return _attribute(route, settings, work, "z2z", start=_start_key(work, settings, _key(baseline)))
        tokens = work.tokens[0]
        start, memory = source_start(baseline, first.hidden, tokens.visible), None
        if tokens.memory is not None:
            memory = cross_start(settings.encoder_baseline, first.encoded, tokens.memory)
        return _attribute(autograd.z2z(first, start, memory, work.sentences.held), settings, work, "z2z")

    return _with_correction(run, settings.layer_baseline, work)


def _whole_in_double(baseline: Baseline, settings: Settings, work: Workspace) -> Attribution:
    """z2z on a float64 copy: what the memory adds to a target starts flat where it starts at its mean."""
    with keep_double():
        double = work.double()
        route = double.z2z(baseline, double.cross(settings.encoder_baseline))
        found = _attribute(route, settings, work, "z2z")
    return _in_single(found)


# --- u2z ------------------------------------------------------------------------------------------


def _u2z(work: Workspace, settings: Settings) -> Attribution:
    asked = settings.mlp_baseline
    baseline = _underlying(settings.att_baseline) if _is_matched(asked) else asked

    def run() -> Attribution:
        route = integration.u2z(work.sentences, players_of(work, settings))
        start = _start_key(work, settings, _shared_start(asked, settings.att_baseline))
        return _attribute(route, settings, work, "u2z", start=start)

    matched = _start_key(work, settings, _is_matched(asked))
    return work.once(("u2z", matched, *_key_of(settings, "u2z", baseline)), run)


def _shared_start(baseline: Baseline, att_baseline: Baseline) -> Any:
    """The baseline of the z2z that starts at the same z'; None where there is none."""
    if isinstance(baseline, Tensor) or baseline == "zero":
        return None
    return _key(_underlying(att_baseline)) if baseline == "matched" else "itb"


def _is_matched(baseline: Baseline) -> bool:
    return isinstance(baseline, str) and baseline == "matched"


def _start_key(work: Workspace, settings: Settings, key: Any) -> Any:
    """What tells starts apart: that of the memory too, where there is one."""
    memory = work.sentences.layers[0].memory
    return (key, _key(settings.encoder_baseline)) if memory and key is not None else key


def players_of(work: Workspace, settings: Settings) -> Players:
    """Where the heads start and end, and where the residual starts: it moves only under `matched`."""
    players = mlp_paths(work, settings.mlp_baseline, settings.att_baseline)
    cross = work.cross(settings.encoder_baseline)
    if cross is None:
        return players
    start, end = (_second_u(cross, node, work.rows) for node in (0.0, 1.0))
    if isinstance(settings.mlp_baseline, str) and settings.mlp_baseline == "zero":
        start = torch.zeros_like(start)
    return replace(players, second_start=start, second_end=end)


def _second_u(path: CrossPath, node: float, rows: Tensor) -> Float[Tensor, "row head value_dim"]:
    with torch.no_grad():
        at = torch.full((1,), node, dtype=torch.float32, device=rows.device)
        found = attended(path, at, rows)[0]
    return found.new_zeros(path.query.shape[2], *found.shape[1:]).index_copy(0, rows, found)


def mlp_paths(work: Workspace, baseline: Baseline, att_baseline: Baseline) -> Players:
    """The players of the first attention, and the residual."""
    if isinstance(baseline, str) and baseline != "zero":
        start = _underlying(att_baseline) if baseline == "matched" else "itb"
        first, last = (work.u_at(start, node) for node in (0.0, 1.0))
        sources = work.start(start)
        return Players(first, last, None if sources.per_target else sources.vectors)
    end = work.once("u_end", lambda: _u_ends(work.sentences))
    start = _custom_u(work, baseline, end) if isinstance(baseline, Tensor) else torch.zeros_like(end)
    return Players(start, end)


def _u_ends(sentences: LayerBatch) -> Float[Tensor, "row head value_dim"]:
    found = [padded(u_end(layer).flatten(1), sentences.tokens) for layer in sentences.layers]
    return torch.cat(found).unflatten(1, u_end(sentences.layers[0]).shape[1:])


def _custom_u(work: Workspace, baseline: Tensor, end: Tensor) -> Float[Tensor, "row head value_dim"]:
    heads, dim = end.shape[1:]
    out, length = torch.zeros_like(end), work.sentences.tokens
    for number, each in enumerate(work.tokens):
        shapes = ((len(each.visible), heads, dim), (heads, dim))
        if tuple(baseline.shape) not in shapes or not torch.isfinite(baseline).all():
            raise LigflowError(
                f"mlp_baseline is a tensor of shape {tuple(baseline.shape)}; it holds attention outputs u, "
                f"so it must be finite and of shape {shapes[0]} or {shapes[1]} (tokens, heads, head size)."
            )
        out[each.visible + number * length] = baseline.to(end)
    return out


# --- integration ----------------------------------------------------------------------------------


def _attribute(
    route: PathMap,
    settings: Settings,
    work: Workspace,
    name: str,
    start: Any = None,
    rows: Tensor | None = None,
    floor: Tensor | None = None,
) -> Attribution:
    """Some of the work's targets, or all. Routes with the same `start` begin at one z', computed once."""
    kind = _fit(settings.scalarization_of(name), route, work, name)
    budget = settings.memory_budget
    first = None
    if start is not None:
        first = work.once(("first", start), lambda: integration.image_at(route, 0.0, work.rows, budget))
    targets, owner = work.rows, work.owner
    if rows is not None:
        kind = Direction(kind.vector[rows]) if isinstance(kind, Direction) and kind.vector.ndim == 3 else kind
        targets, owner = targets[rows], owner[rows]
    found = attribute(
        route,
        targets,
        kind,
        settings.quadrature,
        settings.tol,
        settings.max_nodes,
        budget,
        owner,
        first,
        floor,
    )
    return _with_jumps(found, route, targets, work, budget)


def _with_jumps(
    found: Attribution, route: PathMap, targets: Tensor, work: Workspace, budget: int | None
) -> Attribution:
    """Where tokens choose experts along their paths, how far F jumps; rounding is no jump."""
    if route.places is None or work.sentences.held:
        return found
    calls = work.once("choices", lambda: count_of_choices(work.sentences.host))
    if not calls:
        return found
    size = jumps(route, targets, calls, budget).to(found.scale)
    return replace(found, jump=torch.where(size > found.floor, size, 0) / found.scale)


def _fit(kind: Scalarization, route: PathMap, work: Workspace, name: str) -> Scalarization:
    """A direction for the chosen targets: `[dim]`, or one a token (for z2u: one a head, or both)."""
    if not isinstance(kind, Direction):
        return kind
    rows = work.rows
    scalars, dim = route.image(torch.ones(1, dtype=torch.float32, device=rows.device), rows[:1]).shape[2:]
    found = [_fit_one(kind.vector, each, name, scalars, dim) for each in work.tokens]
    if all(vector.ndim < 3 for vector in found):
        return kind
    return Direction(torch.cat(found))


def _fit_one(vector: Tensor, tokens: Selection, name: str, scalars: int, dim: int) -> Tensor:
    """The vector as it is, if one serves all tokens; else a row for each target."""
    visible = len(tokens.visible)
    shapes = [(dim,), (visible, dim)] if name != "z2u" else [(dim,), (scalars, dim), (visible, scalars, dim)]
    if tuple(vector.shape) not in shapes:
        raise LigflowError(
            f"The direction for {name} has shape {tuple(vector.shape)}; it must be one of {shapes}. Give "
            "one a route with scalarization={'z2z': direction(v), 'u2z': direction(v)}."
        )
    if len(vector) != visible or vector.ndim != len(shapes[-1]):
        return vector
    rows = torch.searchsorted(tokens.visible, tokens.targets)
    return vector.to(tokens.targets.device)[rows].reshape(len(rows), -1, dim)


def _key(value: Any) -> Any:
    """Names by themselves, tensors and directions by identity (the settings keep them alive)."""
    return value if isinstance(value, str) else id(value)


def _key_of(settings: Settings, route: str, baseline: Baseline) -> tuple[Any, ...]:
    kind = settings.scalarization_of(route)
    return _key(baseline), _key(kind), settings.quadrature, settings.tol, settings.max_nodes


def _underlying(baseline: Baseline) -> Baseline:
    """A ratio corrects an `itb` row."""
    return "itb" if isinstance(baseline, str) and baseline in _RATIOS else baseline


def _with_correction(run: Callable[[Baseline], Attribution], name: Baseline, work: Workspace) -> Attribution:
    """Applies `itb_zero_ratio` or `itb_map_ratio`. The row keeps its sum, and so its certificate."""
    itb, columns = run(_underlying(name)), work.sentences.columns(work.rows)
    if isinstance(name, Tensor) or name not in _RATIOS:
        return itb
    if name == "itb_map_ratio":
        return replace(itb, value=map_ratio(itb.value, _all_weights(work), columns))
    zero = run("zero")
    return replace(
        itb,
        value=zero_ratio(itb.value, zero.value, columns),
        error=itb.error + zero.error,
        met=itb.met & zero.met,
        nodes=itb.nodes + zero.nodes,
        origin=zero.origin,
        flipped=self_share(zero.value, columns) > 1,
        jump=None if itb.jump is None or zero.jump is None else itb.jump + zero.jump,
    )


def _all_weights(work: Workspace) -> Float[Tensor, "row head source"]:
    """The attention weights of all targets, 0 at the sources that fill up a short sentence."""
    found = []
    for layer, each in zip(work.sentences.layers, work.tokens, strict=True):
        alpha = shown_attention(layer, each.targets)
        more = work.sentences.tokens - alpha.shape[-1]
        found.append(torch.nn.functional.pad(alpha, (0, more)))
    return torch.cat(found)
