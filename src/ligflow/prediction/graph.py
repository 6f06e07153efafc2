"""From a model, a question and a reference to the graph of segments that the chain goes through."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.errors import UnsupportedModel
from ligflow.layer.arguments import first_tensor
from ligflow.layer.experts import rows_of_choices
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.prediction.answer_rows import score_by_row
from ligflow.prediction.attention_switch import AttentionSwitch
from ligflow.prediction.chain import Graph
from ligflow.prediction.cuts import Call, segments_of
from ligflow.prediction.held import Held, both_scores, held_at
from ligflow.prediction.inner_states import inner_of, is_known, is_noted, note_known, run_noting_inner
from ligflow.prediction.known_forms import forget, known_form
from ligflow.prediction.layer_form import LayerForm
from ligflow.prediction.path_variable import Values, Variable
from ligflow.prediction.products import with_products
from ligflow.prediction.read_sources import gradients, with_read_sources
from ligflow.prediction.segment import Segment
from ligflow.prediction.two_runs import Path, Run, argument_at, in_order, moving, resumed, run_noting
from ligflow.prediction.vocabulary_head import tokens_of_head
from ligflow.prediction.written import is_written_before_attention
from ligflow.recording.tolerances import max_token_error, tolerance

EMBEDDINGS, SCORE, ENCODED = "embeddings", "score", "encoder_hidden_states"


@dataclass(frozen=True, eq=False)
class Runs:
    """The two runs of a model on one example, with its layers in the order of their calls."""

    model: PreTrainedModel
    inputs: Mapping[str, Tensor]
    layers: Sequence[Layer]
    real: Run
    reference: Run
    positions: Sequence[int] | None
    score: Callable[[Any], Tensor]
    decoding: Sequence[bool]
    held: Held = field(default_factory=Held)
    notes: tuple[str, ...] = ()

    @property
    def modules(self) -> list[nn.Module]:
        """The layers' modules in the order of their calls."""
        return [layer.module for layer in self.layers]


@dataclass(eq=False)
class Built:
    """A graph, the calls of layers in it, and what a reader must know of it."""

    graph: Graph
    calls: list[Call]
    scores: tuple[Tensor, Tensor]
    notes: list[str] = field(default_factory=list)


def implementation_of(layers: Sequence[Layer]) -> str | None:
    """The attention that the model has in both runs: ours, where all layers can be replayed with it."""
    kinds = {layer.implementation for layer in layers}
    return kinds.pop() if len(kinds) == 1 else None


def both_runs(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    layers: Sequence[Layer],
    embeddings: Tensor,
    positions: Sequence[int] | None,
    score: Callable[[Any], Tensor],
    decoder: Collection[Layer] = (),
    experts: bool = False,
    attention: bool = False,
    real: Run | None = None,
    products: bool = True,
) -> Runs:
    """The model's run on the inputs, and that with the reference at its embeddings.

    `decoder` are the layers of a decoder behind an encoder. `experts` and `attention` say whether these are
    held at the input in both. `real` is the first run, if it was made before; `products` are the other's.
    """
    modules = [layer.module for layer in layers]
    with prepared(model, implementation_of(layers)):
        if real is None or not is_noted(real):
            real = run_noting_inner(model, inputs, modules, None, positions)
        reference = run_noting_inner(model, inputs, modules, embeddings, positions, products)
    if not len(real.calls) == len(reference.calls) == len(layers):
        raise UnsupportedModel(
            f"{type(model).__name__} runs {len(real.calls)} layers on the input and "
            f"{len(reference.calls)} on the reference; choose another reference."
        )
    ordered = in_order(layers, [call.module for call in real.calls])
    decoding = [layer in decoder for layer in ordered]
    held = held_at(model, ordered, experts, attention)
    notes: tuple[str, ...] = ()
    if held:
        with prepared(model, implementation_of(layers)), held.through([layer.module for layer in ordered]):
            moved, reference = reference, run_noting(model, inputs, modules, embeddings, positions)
        notes = (both_scores(score, moved.outputs, reference.outputs, held),)
    return Runs(model, inputs, ordered, real, reference, positions, score, decoding, held, notes)


def graph_of(runs: Runs, cut: str = "modules") -> Built:
    """The graph under a cut: `modules`, `layer`, or `model`, which is one segment."""
    with AttentionSwitch(runs.model) as attention:
        builder = _Builder(runs, cut, attention)
        if cut != "model":
            builder.layers()
        return builder.finish()


class _Builder:
    """Adds segments one by one, in the order of the model."""

    def __init__(self, runs: Runs, cut: str, attention: AttentionSwitch) -> None:
        self.runs, self.cut, self.attention = runs, cut, attention
        self.segments: list[Segment] = []
        self.variables: dict[str, Variable] = {}
        self.cuts: list[tuple[str, int]] = [(EMBEDDINGS, 0)]
        self.calls: list[Call] = []
        self.notes: list[str] = list(runs.notes)
        streams = list(zip(runs.layers, runs.decoding, strict=True))
        embedded = runs.real.embeddings.shape[1]
        first = next((len(layer.hidden) for layer, decodes in streams if not decodes), embedded)
        self.own = max(embedded, first)
        self.tokens = self.own + next((len(layer.hidden) for layer, decodes in streams if decodes), 0)
        # what a model puts before the tokens that it embeds, such as the class of an image
        real, reference = (run.embeddings[0].detach() for run in (runs.real, runs.reference))
        self.variables[EMBEDDINGS] = Variable(real, reference, offset=self.own - embedded)

    def _add_variable(
        self, name: str, real: Tensor, reference: Tensor, late: bool = False, decodes: bool = False
    ) -> None:
        """A variable of one stream; its tokens stand on the last axis of as many before its numbers."""
        own, other = real[0].detach(), reference[0].detach()
        count = self.tokens - self.own if decodes else self.own
        axes = [axis for axis, size in enumerate(own.shape[:-1]) if size == count]
        self.variables[name] = Variable(own, other, axes[-1] if axes else 0, self.own if decodes else 0, late)

    def layers(self) -> None:
        """The segments of every layer, and of what lies between them."""
        runs = self.runs
        for number, layer in enumerate(runs.layers):
            real, reference = runs.real.calls[number], runs.reference.calls[number]
            differing = moving(real.arguments, reference.arguments)
            if (real.first,) in differing:
                differing[real.first,] = (layer.layout.rows(real.hidden), layer.layout.rows(reference.hidden))
            names = {path: self._known(*pair) for path, pair in differing.items()}
            fresh = {path: pair for path, pair in differing.items() if names[path] is None}
            if fresh:
                names |= self._between(number, fresh, real.first)
            hidden = names.pop((real.first,), None)
            self.cuts.append((f"layer {number}", len(self.segments)))
            if hidden is None and not names:  # nothing moves here
                continue
            if hidden is None:
                hidden = f"hidden{number}"
                ours, theirs = (layer.layout.rows(each.hidden) for each in (real, reference))
                self._add_variable(hidden, ours, theirs, decodes=runs.decoding[number])
            self._layer(number, layer, hidden, {path: name for path, name in names.items() if name})

    def _known(self, real: Tensor, reference: Tensor) -> str | None:
        """The variable that this is, if it is one."""
        for name, variable in reversed(self.variables.items()):
            pairs = ((variable.real, real[0]), (variable.reference, reference[0]))
            if all(ours.shape == theirs.shape and torch.equal(ours, theirs) for ours, theirs in pairs):
                return name
        return None

    def _layer(self, number: int, layer: Layer, hidden: str, names: Mapping[Path, str]) -> None:
        output, decodes = f"out{number}", self.runs.decoding[number]
        real, reference = (
            layer.layout.rows(first_tensor(run.calls[number].output))
            for run in (self.runs.real, self.runs.reference)
        )
        self._add_variable(output, real, reference, decodes=decodes)
        written = self._written(number, decodes)
        form = LayerForm("layer")
        late = bool(written) and layer.mode != "whole" and not is_written_before_attention(layer, written)
        if self.cut == "modules" and not late:
            self.attention.to(layer.implementation)
            form = known_form(layer)
        for candidate in self._candidates(form, layer):
            call = Call(
                number, layer, candidate, hidden, output, names, written, *self.runs.held.attends(number)
            )
            segments = [self._holding(segment, number) for segment in segments_of(call)]
            segments, inner = self._inner(call, segments)
            if inner is not None:
                break
        else:
            raise UnsupportedModel(
                f"Layer {number} ({layer.name}) does not give again what it gave in both runs; cut='model' "
                "takes the model as one."
            )
        if candidate.kind != form.kind:
            self.notes.append(f"layer {number} goes through the coarser cut: its parts give another output")
        elif self.cut == "modules" and candidate.kind in ("layer", "joined"):
            reason = layer.findings.reason or (
                "layers above read what it writes behind its attention"
                if late
                else "what follows its attention could not be taken apart"
            )
            self.notes.append(f"layer {number} goes through a coarser cut ({candidate.kind}): {reason}")
        self.variables |= inner
        segments = [self._with_read_sources(segment, call.others) for segment in segments]
        self.segments += with_products(segments, call, self.variables, self.runs.reference.calls[number])
        self.calls.append(call)

    def _holding(self, segment: Segment, number: int) -> Segment:
        """The segment, with what its layer holds."""
        if not self.runs.held:
            return segment

        def run(values: Values) -> Values:
            with self.runs.held.at(number):
                return segment.run(values)

        return replace(segment, run=run, held=str(self.runs.held))

    def _with_read_sources(self, segment: Segment, optional: Collection[str]) -> Segment:
        self.attention.to(segment.implementation)
        return with_read_sources(segment, optional, self.variables)

    def _candidates(self, form: LayerForm, layer: Layer) -> Iterator[LayerForm]:
        """The form that is known, that recognised anew where weights changed, and the coarser one."""
        yield form
        if form.kind != "layer":
            forget(layer)
            yield known_form(layer)
            yield LayerForm("layer")

    def _written(self, number: int, decodes: bool) -> dict[Path, str]:
        """Variables for what a layer writes into its arguments, where that moves."""
        real, reference = self.runs.real.calls[number].written, self.runs.reference.calls[number].written
        names: dict[Path, str] = {}
        for path, pair in moving(real, reference).items():
            names[path[0]] = f"{'.'.join(map(str, path[0]))} of layer {number}"
            self._add_variable(names[path[0]], *pair, late=True, decodes=decodes)
        return names

    def _inner(self, call: Call, segments: list[Segment]) -> tuple[list[Segment], dict[str, Variable] | None]:
        """The segments with what they choose, and the variables inside a layer in both runs.

        These are None where its outputs do not come out.
        """
        inner: dict[str, Variable] = {}
        choosing, outputs = list[Segment](), (call.output, *call.written.values())
        offset = self.variables[call.output].offset
        calls = (run.calls[call.number] for run in (self.runs.real, self.runs.reference))
        noted = None if self.runs.held else inner_of(call, *calls)
        if noted is not None and is_known(call):
            return segments, {name: Variable(*pair, 0, offset) for name, pair in noted.items()}
        for segment in segments:
            known = self.variables | inner
            mixed = segment.tokenwise and all(name in outputs for name in segment.images)
            if mixed:
                both = [known[name] for name in (*segment.sources, *segment.images)]
                mixed = {(variable.axis, variable.count) for variable in both} == {(0, max(2, both[0].count))}
            ends = {name: _ends(known[name], mixed) for name in segment.sources}
            self.attention.to(segment.implementation)
            with torch.no_grad():
                images, chooses = self._run(segment, ends)
            choosing.append(self._choosing(segment, ends) if chooses else segment)
            for name, image in images.items():
                if name in outputs:
                    if not _same(image, _ends(known[name], mixed)):
                        return choosing, None
                else:
                    inner[name] = Variable(image[1], image[0], 0, offset)
        if noted is None or any(segment.choices for segment in choosing):
            return choosing, inner
        if not all(_same(torch.stack(noted[name]), _ends(inner[name], False).flip(0)) for name in inner):
            return choosing, inner
        note_known(call)
        return choosing, {name: Variable(*pair, 0, offset) for name, pair in noted.items()}

    def _run(self, segment: Segment, values: Values) -> tuple[Values, bool]:
        """What a segment gives, and whether it chooses experts on the way."""
        images: list[Values] = []
        rows = rows_of_choices(lambda: images.append(segment.run(values)))
        return images[0], bool(rows) and not self.runs.held.experts

    def _choosing(self, segment: Segment, values: Values) -> Segment:
        """The segment with what it chooses for one point."""
        point = {name: value[:1] for name, value in values.items()}
        with torch.no_grad():
            return replace(segment, choices=rows_of_choices(lambda: segment.run(point)))

    def _between(
        self, number: int, fresh: Mapping[Path, tuple[Tensor, Tensor]], first: str
    ) -> dict[Path, str]:
        """A segment from what layers gave to new arguments of a layer."""
        names: dict[Path, str] = {}
        for path, pair in fresh.items():
            names[path] = f"{'.'.join(map(str, path))}@{number}"
            decodes = self.runs.decoding[number] and path[0] != ENCODED
            self._add_variable(names[path], *pair, late=path != (first,), decodes=decodes)

        def run(values: Values) -> dict[str, Tensor]:
            arguments, layer = self._resumed(values, number), self.runs.layers[number]
            tensors = {path: argument_at(arguments, path) for path in names}
            if (first,) in tensors:
                tensors[first,] = layer.layout.rows(tensors[first,])
            return {names[path]: tensor for path, tensor in tensors.items()}

        self._add_segment(f"before layer {number}", tuple(names.values()), run)
        return names

    def _resumed(self, values: Values, stop: int) -> Any:
        outputs = {int(name[3:]): value for name, value in values.items() if name.startswith("out")}
        return resumed(
            self.runs.model, self.runs.inputs, self.runs.layers, self.runs.real, outputs,
            values.get(EMBEDDINGS), stop, self.runs.positions,
        )  # fmt: skip

    def _add_segment(self, name: str, images: tuple[str, ...], run: Callable[[Values], Any]) -> None:
        candidates = tuple(name for name in self.variables if name == EMBEDDINGS or name.startswith("out"))
        implementation = implementation_of(self.runs.layers)
        segment = Segment(name, None, "between", candidates, images, run, False, 1, implementation)
        self.attention.to(implementation)
        sources, chooses = self._sources(segment)
        segment = replace(segment, sources=sources)
        if chooses:
            segment = self._choosing(segment, {name: self.variables[name].real[None] for name in sources})
        self.segments.append(segment)

    def _sources(self, segment: Segment) -> tuple[tuple[str, ...], bool]:
        """The candidates on which some image depends, and whether experts are chosen on the way."""
        chosen: list[bool] = []

        def images(values: Values) -> Values:
            found, chooses = self._run(segment, values)
            chosen.append(chooses)
            return found

        grads = gradients(images, segment.sources, self.variables)
        return tuple(name for name, grad in grads.items() if bool(grad.any())), chosen[0]

    def finish(self) -> Built:
        """The last segment: from what the last layers gave to the score."""
        runs = self.runs
        with torch.no_grad():
            real, reference = (runs.score(run.outputs)[0] for run in (runs.real, runs.reference))
        self.variables[SCORE] = Variable(real.double(), reference.double(), -1)
        self.cuts.append(("head", len(self.segments)))

        def run(values: Values) -> dict[str, Tensor]:
            if self.cut == "model":
                return {SCORE: _whole(runs, values[EMBEDDINGS]).double()}
            return {SCORE: runs.score(self._resumed(values, len(runs.layers))).double()}

        self._add_segment("the head", (SCORE,), run)
        self.segments[-1] = self._at_few_tokens(self.segments[-1])
        cuts = self.cuts[:1] if self.cut == "model" else self.cuts
        graph = Graph(self.segments, self.variables, cuts, self.tokens)
        return Built(graph, self.calls, (real, reference), self.notes)

    def _at_few_tokens(self, head: Segment) -> Segment:
        """The head, with the tokens that it reads where it is known that others do not matter."""
        runs, last = self.runs, f"out{len(self.runs.layers) - 1}"
        if head.sources != (last,) or head.choices:
            return head
        few = tokens_of_head(
            runs.model, runs.inputs, runs.layers, (runs.real, runs.reference), runs.positions, runs.score,
            self.variables[last],
        )  # fmt: skip
        self.variables[SCORE] = score_by_row(self.variables[SCORE], few)
        return replace(head, few=few)


def _whole(runs: Runs, embeddings: Tensor) -> Tensor:
    with runs.held.through(runs.modules):
        outputs = resumed(runs.model, runs.inputs, [], runs.real, {}, embeddings, 0, runs.positions)
    return runs.score(outputs)


def _ends(variable: Variable, mixed: bool) -> Tensor:
    """A variable in the reference run and in the real one; mixed: every other token from the one run.

    Where no token depends on another that shows as much, at half the cost.
    """
    if not mixed:
        return torch.stack([variable.reference, variable.real])
    ends = variable.real.clone()
    ends[::2] = variable.reference[::2]
    return ends[None]


def _same(ours: Tensor, theirs: Tensor) -> bool:
    return max_token_error(ours, theirs) <= tolerance(ours)
