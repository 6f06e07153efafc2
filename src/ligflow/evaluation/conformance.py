"""Checks that a user can run on their own model, with the numbers that were measured."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ligflow.errors import LigflowError
from ligflow.evaluation.compared_maps import (
    NODES,
    default_maps,
    engine_and_autograd,
    errors_of_cells,
    largest_gap,
    place_of_jump,
)
from ligflow.explainer.explainer import Explainer
from ligflow.inputs.checks import Inputs
from ligflow.inputs.pairs import Pair
from ligflow.inputs.passages import Passages
from ligflow.inputs.tokens import text_config
from ligflow.inputs.words import Words
from ligflow.layer.experts import has_experts
from ligflow.layer.layer import Layer
from ligflow.method.baselines import Baseline, Itb, Mean, Zero
from ligflow.method.quadrature import Adaptive, Fine
from ligflow.method.scalarization import L2
from ligflow.names import TOL
from ligflow.recording.tolerances import max_token_error, rounding
from ligflow.routes.explain_layer import explain_layer
from ligflow.routes.integration import attribute
from ligflow.routes.workspace import Selection
from ligflow.settings import ROUTES, Settings

TEXTS = ("The cat sat on the mat.", "Rivers rarely run straight.")
_CHOSEN = 3  # targets whose cells are computed by the fine rule, which is slow

Recording = list[tuple[Layer, Selection]]


@dataclass(frozen=True)
class Check:
    """One check over all layers and inputs: the worst value measured against its limit.

    `compared` is False where there was nothing to measure; such a check passes, and says nothing.
    """

    name: str
    passed: bool
    measured: str
    limit: str
    detail: str = ""
    compared: bool = True


def check(
    explainer: Explainer,
    inputs: Inputs | Sequence[Inputs] | None = None,
    tol: float = TOL,
    experts: str = "routed",
) -> list[Check]:
    """Runs every check on `inputs` (two short ones if None) and returns what was measured.

    With `experts="frozen"` certificates are those of layers whose experts are held (see `layer.experts`).
    Layers that cannot be split are reported, and checked in z2z alone. Raises LigflowError where no input
    can be made up for the model; pass `inputs` then.
    """
    if isinstance(inputs, str | Words | Pair | Passages | Mapping):
        inputs = [inputs]
    examples = list(inputs) if inputs is not None else _examples(explainer)
    if not examples:
        raise LigflowError("The inputs are empty; give at least one example, or None for two short ones.")
    recordings = [_record(explainer, example) for example in examples]
    checks = [_splits(recordings[0]), _shortcuts(recordings[0])]
    checks += [_as_loaded(explainer, examples, recordings), _replays(explainer, recordings)]
    for baseline in (Itb(), Zero(), Mean()):
        checks.append(_engine(explainer, recordings, baseline))
    checks.append(_cells(explainer, recordings[0], tol, experts))
    checks.append(_certificates(explainer, recordings, tol, experts))
    checks.append(_causal(explainer, recordings[0]))
    return checks


def _examples(explainer: Explainer) -> list[Inputs]:
    if explainer.tokenizer is not None and explainer.prepared.decodes:
        return [Pair(*TEXTS), Pair(*TEXTS[::-1])]
    if explainer.tokenizer is not None:
        return list(TEXTS)
    config, name = explainer.model.config, explainer.model.main_input_name
    generator = torch.Generator("cpu").manual_seed(0)
    drawn: dict[str, Any] = {"generator": generator, "device": "cpu"}
    if name == "pixel_values":
        shape = (1, getattr(config, "num_channels", 3), config.image_size, config.image_size)
        made = [torch.randn(shape, **drawn, dtype=torch.float32) for _ in range(2)]
        return [{name: pixels.to(explainer.model.dtype)} for pixels in made]
    if name == "input_ids":
        size = text_config(config).vocab_size
        names = (name, "decoder_input_ids") if explainer.prepared.decodes else (name,)
        return [{n: torch.randint(3, size, (1, 6), **drawn) for n in names} for _ in range(2)]
    raise LigflowError(f"No input can be made up for {name!r}; call check(explainer, inputs=[...]).")


def _record(explainer: Explainer, example: Inputs) -> Recording:
    """The layers of one example, each with the tokens that are explained on it."""
    layers = explainer.prepared.record(example)
    return list(zip(layers, explainer.prepared.selections(example, layers), strict=True))


def _splits(recording: Recording) -> Check:
    layers = [layer for layer, _ in recording]
    refused = [layer for layer in layers if layer.mode == "whole"]
    whole = len(layers) - len(refused)
    detail = ", ".join(dict.fromkeys(type(layer.module).__name__ for layer in layers))
    if refused:
        detail += f"; layer {refused[0].index}: {refused[0].findings.reason}; z2z only"
    if len(counts := dict.fromkeys(len(layer.hidden) for layer in layers)) > 1:
        detail += f"; with {', '.join(map(str, counts))} tokens: explain layers of one number at a time"
    count = f"{whole} of {len(layers)}"
    return Check("layers split at their attention", True, count, "any", detail, compared=whole > 0)


def _shortcuts(recording: Recording) -> Check:
    """Whose keys and values have a closed form on the path; the others are slower, not wrong."""
    layers = [layer for layer, _ in recording if layer.mode != "whole"]
    forms = [form for layer in layers if (form := layer.findings.closed_form) is not None]
    names = dict.fromkeys(form.name for form in forms)
    reasons = [f"layer {layer.index}: {why}" for layer in layers if (why := layer.findings.no_closed_form)]
    count = f"{len(forms)} of {len(recording)}"
    detail = "; ".join([*names, *reasons[:1]])
    return Check("keys and values in closed form", True, count, "any", detail, compared=bool(names))


def _as_loaded(explainer: Explainer, examples: list[Inputs], recordings: list[Recording]) -> Check:
    """What the explained layers take and give, against a run of the model as it was loaded."""
    name, gaps, limit = "layers are as the model runs", [], _rounding(explainer, 1e-4)
    for example, recording in zip(examples, recordings, strict=True):
        try:
            calls = explainer.prepared.watched(example, {layer.name for layer, _ in recording})
        except LigflowError as error:
            return Check(name, False, "nothing", f"{limit:.0e}", str(error), compared=False)
        for layer, _ in recording:
            own = [layer.layout.rows(states)[0].to(layer.hidden) for states in calls[layer.name].pop(0)]
            gaps += [max_token_error(*pair) for pair in zip((layer.hidden, layer.output), own, strict=True)]
    worst = _worst(gaps)
    if worst > limit and (drawn := _between_runs(explainer, examples[0], recordings[0])) > limit:
        said = (
            f"the model draws at random: two runs of it differ by {drawn:.1e}, and a flow is of one of them"
        )
        return Check(name, True, "nothing", f"{limit:.0e}", said, compared=False)
    return Check(name, worst <= limit, f"{worst:.1e}", f"{limit:.0e}")


def _between_runs(explainer: Explainer, example: Inputs, recording: Recording) -> float:
    """How far two runs of the model as it was loaded are apart, by the worst token of its layers."""
    names = {layer.name for layer, _ in recording}
    first, again = (explainer.prepared.watched(example, names) for _ in range(2))
    gaps = [
        max_token_error(layer.layout.rows(ours[1])[0], layer.layout.rows(theirs[1])[0])
        for layer, _ in recording
        for ours, theirs in zip(first[layer.name], again[layer.name], strict=True)
    ]
    return _worst(gaps)


def _replays(explainer: Explainer, recordings: list[Recording]) -> Check:
    """Each replayed layer against the output that the model itself computed."""
    gaps = []
    for layer, _ in _all(recordings):
        with explainer.prepared.ready_for(layer), torch.no_grad():
            hidden = layer.hidden[None]
            whole = layer.mode == "whole"
            ours = layer.forward(hidden) if whole else layer.finish(hidden, layer.attend(hidden))
        gaps.append(float((ours[0] - layer.output).norm() / layer.output.norm()))
    worst, limit = _worst(gaps), _rounding(explainer, 1e-4)
    return Check("replay equals the model", worst <= limit, f"{worst:.1e}", f"{limit:.0e}")


def _engine(explainer: Explainer, recordings: list[Recording], baseline: Baseline) -> Check:
    """Every route against brute-force autograd at the same path points."""
    gaps, limit = [], _rounding(explainer, 1e-4)
    for layer, tokens in _all(recordings):
        with explainer.prepared.ready_for(layer):
            for route, engine, oracle in engine_and_autograd(layer, baseline, tokens):
                gap = largest_gap(engine, oracle, tokens, limit, layer.hidden.dtype)
                gaps.append((math.isnan(gap), gap, f"worst: {route}, layer {layer.index}"))
    name = f"engine equals autograd, {baseline.name}"
    if not gaps:
        said = "no layer can be split: nothing of z2u and u2z was compared, and z2z is autograd itself"
        return Check(name, True, "nothing", f"{limit:.0e}", said, compared=False)
    _, worst, where = max(gaps)
    return Check(name, worst <= limit, f"{worst:.1e}", f"{limit:.0e}", where)


def _cells(explainer: Explainer, recording: Recording, tol: float, experts: str) -> Check:
    """Cells of a few targets of the middle layer against the fine rule; only met rows say anything."""
    layer, tokens = recording[len(recording) // 2]
    count = 1 if layer.mode != "split" else _CHOSEN  # plain autograd is slow
    last = len(tokens.targets) - 1
    chosen = tokens.targets[torch.linspace(last, 0, count, dtype=torch.float64, device="cpu").long()]
    place = Selection(tokens.visible, chosen.unique(), tokens.memory)
    routes = ("z2z",) if layer.mode == "whole" else ROUTES
    held = experts if has_experts(layer) else "routed"
    adaptive, fine = (
        Settings(routes=routes, tol=tol, quadrature=rule, experts=held) for rule in (Adaptive(), Fine())
    )
    with explainer.prepared.ready_for(layer):
        ours, exact = (explain_layer(layer, settings, place) for settings in (adaptive, fine))
    errors = {
        route: errors_of_cells(errors_of_route, exact[route]) / tol for route, errors_of_route in ours.items()
    }
    worst, where = max(
        (
            (float(errors_of_route.max()), name)
            for name, errors_of_route in errors.items()
            if errors_of_route.numel()
        ),
        default=(0.0, "none"),
    )
    every = torch.cat([errors_of_route.flatten() for errors_of_route in errors.values()])
    share = f"{int((every > 1).sum())} of {len(every)} over 1"
    detail = f"in tolerances; {share}; worst: {where}, layer {layer.index}"
    return Check("cells against a fine rule", worst <= 2, f"{worst:.2g}", "2", detail, len(every) > 0)


def _certificates(explainer: Explainer, recordings: list[Recording], tol: float, experts: str) -> Check:
    gaps = []
    for layer, tokens in _all(recordings):
        with explainer.prepared.ready_for(layer):
            for name, route in default_maps(layer, tokens, experts == "frozen").items():
                found = attribute(route, tokens.targets, L2(), tol=tol)
                off = ((found.value.sum(-1) - found.total) / found.scale).abs().amax(-1)
                gap, worst = float(off.max()), tokens.targets[off.argmax()]
                jump = "" if gap <= tol else place_of_jump(route, worst, float(found.scale.max()) * tol)
                gaps.append((math.isnan(gap), gap, f"worst: {name}, layer {layer.index}{jump}"))
    _, gap, where = max(gaps)
    settings, passed = "default settings" if experts == "routed" else "experts held", gap <= tol
    return Check(f"certificates, {settings}", passed, f"{gap:.1e}", f"{tol:.0e}", "" if passed else where)


def _causal(explainer: Explainer, recording: Recording) -> Check:
    """If no layer lets a token see later ones, no attribution may come from later ones."""
    name = "no attribution from the future"
    if len(recording[0][1].visible) == 1 or not all(_sees_back(explainer, *pair) for pair in recording):
        return Check(name, True, "not causal", "0")
    leaks = []
    for layer, tokens in recording:
        with explainer.prepared.ready_for(layer):
            found = attribute(default_maps(layer, tokens)["z2z"], tokens.targets, L2(), NODES)
            leaks.append(float(found.value[:, 0, tokens.visible].triu(1).abs().max()))
    worst = _worst(leaks)
    return Check(name, worst == 0, f"{worst:.1e}", "0")


def _sees_back(explainer: Explainer, layer: Layer, tokens: Selection) -> bool:
    """Whether tokens see earlier ones alone, at three cuts: after the first, in the middle, before the last.

    The last token alone does not tell: a model that pads by itself hides its last tokens from all.
    """
    visible = tokens.visible
    cuts = sorted({1, (len(visible) + 1) // 2, len(visible) - 1})
    changed = layer.hidden.detach().repeat(len(cuts), 1, 1)
    for number, cut in enumerate(cuts):
        changed[number, visible[cut:]] *= -1
    with explainer.prepared.ready_for(layer), torch.no_grad():
        own, *others = layer.forward(torch.cat([layer.hidden.detach()[None], changed]))
    earlier = [(visible[:cut], other) for cut, other in zip(cuts, others, strict=True)]
    return all(max_token_error(other[some], own[some]) <= rounding(own) for some, other in earlier)


def _all(recordings: list[Recording]) -> Iterator[tuple[Layer, Selection]]:
    for recording in recordings:
        yield from recording


def _worst(values: list[float]) -> float:
    """The largest; NaN, which passes no limit, if there is one."""
    return float(torch.tensor(values, dtype=torch.float64, device="cpu").max())


def _rounding(explainer: Explainer, float32_limit: float) -> float:
    return 1e-9 if explainer.model.dtype == torch.float64 else float32_limit
