"""A model and its tokenizer, prepared: from inputs to recorded layers, validated and ready to be replayed."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as _OF_TEXTS,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES as _OF_TOKENS,
)

from ligflow.devices.precision import exact_mode
from ligflow.explainer.current_copy import CurrentCopy, ModelCopy
from ligflow.explainer.encoding import Encoded, encode_example, in_memory_of, name_sequence, name_tokens
from ligflow.explainer.example import Example, shown, splittable
from ligflow.explainer.explained_part import explained_part, whole_part
from ligflow.explainer.explained_tokens import (
    inputs_of_encoder,
    inputs_seen,
    rows_of_given,
    visible_among,
    visible_of_encoder,
)
from ligflow.inputs.checks import Inputs, own_inputs, taken_by
from ligflow.inputs.token_names import Layers, Names, layer_positions, token_positions
from ligflow.inputs.tokens import Tokens
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.recording.record import record
from ligflow.recording.stacks import refuse_uneven
from ligflow.recording.unmodified_run import few_logits, watched
from ligflow.routes.workspace import Selection

_CLASSIFIERS = {*_OF_TEXTS.values(), *_OF_TOKENS.values()}
Calls = dict[str, list[tuple[Tensor, Tensor]]]


class PreparedModel:
    """What an Explainer runs: a private copy of a model on the same weights, made anew where it has changed.

    `stack`, `devices`, `streamed` and `offload_folder` are those of `Explainer`. `name` and `revision` are
    what flows say of the model. `decodes` is True where the layers are those of a decoder behind an encoder.
    With `of_part` it is the model as a whole, an encoder-decoder with both, on the weights that its part
    has. `headless` says why a model that was loaded has no head, '' where it has the one it was saved with.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any = None,
        *,
        name: str | None = None,
        revision: str | None = None,
        stack: str | None = None,
        devices: tuple[torch.device, ...] = (),
        streamed: bool = False,
        offload_folder: str | Path | None = None,
        of_part: "PreparedModel | None" = None,
    ) -> None:
        self.headless: str = "" if of_part is None else of_part.headless
        self.tokenizer = tokenizer
        self.name = name or getattr(model, "name_or_path", "") or type(model).__name__
        self.revision = revision or getattr(model.config, "_commit_hash", None)
        part, self.stack, self.decodes = (explained_part if of_part is None else whole_part)(model, stack)
        stay = streamed or len(devices) > 1
        copy_of_part: CurrentCopy | None = None if of_part is None else of_part._copy
        with torch.inference_mode(False):
            self._copy: CurrentCopy = CurrentCopy(part, devices, stay, offload_folder, copy_of_part)

    @property
    def model(self) -> PreTrainedModel:
        """The model that was given, or a copy where weights are too short, elsewhere or without gradients."""
        return self._copy.model

    def runs(self, model: PreTrainedModel) -> bool:
        """Whether it is this very model that is run (a copy of all of it), not a part of it."""
        return self._copy.of(model)

    @property
    def home(self) -> torch.device:
        """Where the model's inputs go."""
        return self._copy.home

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """The devices that layers are computed on."""
        return self._copy.devices or (self.home,)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the weights that are run differ from the model's own, for readers."""
        return self._copy.notes

    @property
    def about(self) -> dict[str, Any]:
        """What the metadata of a flow say of the model."""
        about = {"model": self.name, "revision": self.revision, "model_class": type(self.model).__name__}
        return about | ({"stack": self.stack} if self.stack else {})

    def now(self) -> ModelCopy:
        """The copy of the model as it is now."""
        return self._copy.now()

    def steady(self) -> AbstractContextManager[None]:
        """One explanation, in which the model does not change: it is looked at once."""
        return self._copy.steady()

    def encode(self, inputs: Inputs, truncate: bool = False) -> Encoded:
        """The model's inputs of one example. Raises LigflowError for what cannot be explained."""
        encoded = encode_example(self.model, self.tokenizer, self.decodes, inputs, truncate)
        return Encoded(in_memory_of(self.model, self.home, encoded.inputs), encoded.tokens)

    def record(self, inputs: Inputs, truncate: bool = False) -> list[Layer]:
        """The model's layers on one example, recorded, validated and ready to be replayed."""
        with exact_mode(self.home):
            copy = self.now()
            return copy.validated(copy.placement.spread(self._record(self.encode(inputs, truncate), copy)))

    def example(
        self,
        encoded: Encoded,
        routes: tuple[str, ...],
        layers: Layers | None,
        targets: Names | None,
        copy: ModelCopy | None = None,
    ) -> Example:
        """One run of the model, and which of its layers and tokens are asked about."""
        copy = copy or self.now()
        recorded = self._record(encoded, copy)
        chosen = [recorded[number] for number in layer_positions(layers, len(recorded))]
        chosen = copy.placement.spread(chosen)
        refuse_uneven(chosen)
        inputs = self._seen(encoded.inputs, recorded[0], copy)
        given_rows, visible = self._rows(inputs, recorded[0], chosen, copy)
        named = self._named(encoded.tokens, inputs, len(given_rows), chosen[0].layout.parts)
        tokens = shown(named, visible)
        targeted = token_positions(targets, tokens.labels)
        chosen, left_out = splittable(copy.validated(chosen), layers is not None, routes)
        of_encoder = visible_of_encoder(self.model, inputs, chosen[0], self.decodes)
        rows = given_rows[visible]
        selection = Selection(rows, rows[torch.tensor(targeted, device=rows.device)], of_encoder)
        return Example(
            tokens,
            targeted,
            chosen,
            selection,
            [*copy.notes, *left_out, *tokens.notes, *self._not_taken(encoded), *self._head_note()],
            copy.placement,
            self._name_encoder(inputs, chosen[0], of_encoder),
            self.about,
        )

    def selections(self, inputs: Inputs, layers: Sequence[Layer]) -> list[Selection]:
        """For each of all recorded layers the tokens that `example` has on it; every one is a target."""
        copy = self.now()
        of_stack = self._seen(self.encode(inputs).inputs, layers[0], copy)
        rows: dict[int, Tensor] = {}  # by the number of a layer's tokens
        for count in dict.fromkeys(len(layer.hidden) for layer in layers):
            alike = [layer for layer in layers if len(layer.hidden) == count]
            given, visible = self._rows(of_stack, layers[0], alike, copy)
            rows[count] = given[visible]

        def selection(layer: Layer) -> Selection:
            visible = rows[len(layer.hidden)]
            of_encoder = visible_of_encoder(self.model, of_stack, layer, self.decodes)
            return Selection(visible, visible, of_encoder).on(layer.hidden.device)

        return [selection(layer) for layer in layers]

    def ready_for(self, layer: Layer) -> AbstractContextManager[None]:
        """The model as a recorded layer is replayed in it: on its attention, with its weights in place."""
        return self._copy.placement_of(layer.module).ready_for(layer)

    def watched(self, inputs: Inputs, names: Iterable[str]) -> Calls:
        """What modules take (first) and give in each of their calls, as the model was loaded, by name."""
        encoded, copy = taken_by(self.model, self.encode(inputs).inputs), self.now()
        model = cast(PreTrainedModel, copy.placement.model)
        with exact_mode(self.home), copy.running_on(encoded), prepared(model, None):
            return watched(model, encoded, names)

    def size(self, inputs: Inputs, truncate: bool = False) -> tuple[int, int]:
        """How many layers the model has, and the most heads of those that can be split (0 if none can).

        It takes one run of the model.
        """
        with exact_mode(self.home):
            copy = self.now()
            layers = self._record(self.encode(inputs, truncate), copy)
            split = [layer for layer in layers if layer.mode != "whole"]

            def heads(number: int) -> int:
                layer = split[number]
                with prepared(copy.placement.model, layer.implementation), torch.no_grad():
                    return layer.attend(layer.hidden[None]).shape[2]

            return len(layers), max(copy.placement.in_turn(split, heads), default=0)

    def labels(self, inputs: Inputs) -> list[str]:
        """The tokens of some inputs as a flow names them, without running the model."""
        encoded = self.encode(inputs)
        own = own_inputs(encoded.inputs, self.decodes)
        first = next(iter((own or encoded.inputs).values()))
        return list(self._named(encoded.tokens, encoded.inputs, first.shape[1]).labels)

    def _seen(self, inputs: dict[str, Tensor], first: Layer, copy: ModelCopy) -> dict[str, Tensor]:
        """The inputs without those of another tower, of which only a model with several stacks has one."""
        return inputs_seen(inputs, first, partial(self._first, copy)) if self.stack else inputs

    def _rows(
        self, inputs: Mapping[str, Tensor], first: Layer, layers: Sequence[Layer], copy: ModelCopy
    ) -> tuple[Tensor, Tensor]:
        """The rows of the given tokens in layers of one length, and which of these are no padding."""
        first_of = partial(self._first, copy)
        given = rows_of_given(inputs, first, layers, self.decodes, first_of, self.ready_for)
        return given, visible_among(self.model, inputs, given, self.decodes)

    def _named(
        self, tokens: Tokens | None, inputs: Mapping[str, Tensor], count: int, parts: int = 1
    ) -> Tokens:
        """The text's own tokens, unless the layers have others."""
        if tokens is not None and len(tokens.labels) == count:
            return tokens
        return name_tokens(self.model.config, self.tokenizer, own_inputs(inputs, self.decodes), count, parts)

    def _name_encoder(
        self, inputs: Mapping[str, Tensor], layer: Layer, visible: Tensor | None
    ) -> Tokens | None:
        """The tokens of the encoder that a layer attends to, if it does."""
        if visible is None:
            return None
        inputs = inputs_of_encoder(inputs, self.decodes)
        named = name_sequence(self.model.config, self.tokenizer, inputs, len(layer.encoded))
        return shown(named, visible)

    def _not_taken(self, encoded: Encoded) -> list[str]:
        """A note about given inputs that the model does not take; what a tokenizer adds needs none."""
        if encoded.tokens is not None:
            return []
        others = sorted(encoded.inputs.keys() - taken_by(self.model, encoded.inputs))
        return [f"not taken by {type(self.model).__name__}: {', '.join(others)}"] if others else []

    def _head_note(self) -> list[str]:
        """A note where the model has a classifier, of which a reader may think that maps explain it."""
        kind = type(self.model).__name__
        if kind not in _CLASSIFIERS:
            return []
        return [f"maps end at the last layer: the classifier of {kind} above it has no part in them"]

    def _first(self, copy: ModelCopy, inputs: Mapping[str, Tensor]) -> Layer:
        return self._record(Encoded(dict(inputs)), copy)[0]

    def _record(self, encoded: Encoded, copy: ModelCopy) -> list[Layer]:
        inputs = taken_by(self.model, encoded.inputs)
        with copy.running_on(inputs):
            model = cast(PreTrainedModel, copy.placement.model)
            return record(model, inputs | few_logits(model, inputs), self.stack)
