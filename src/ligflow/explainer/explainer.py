"""Explainer: a model, ready to be asked how its tokens flow."""

import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from ligflow.devices.available import Devices, devices_of, present
from ligflow.devices.precision import check_precision, exact_mode
from ligflow.devices.weights import weights_notes
from ligflow.errors import LigflowError
from ligflow.explainer import pretrained
from ligflow.explainer.assembly import flow_of, warn_unmet
from ligflow.explainer.batching import (
    LeftOut,
    Tally,
    alike,
    by_length,
    leaving_out,
    length_of,
    warn_left_out,
    windows,
)
from ligflow.explainer.computation import compute
from ligflow.explainer.example import Example, Results, shown, splittable
from ligflow.explainer.prepared_model import Prepared, PreparedModel
from ligflow.explainer.wrapped import model_of, tokenizer_of
from ligflow.flow import Flow
from ligflow.inputs.chat import encode_chat, is_chat
from ligflow.inputs.checks import (
    Inputs,
    check_inputs,
    codebooks_of,
    decoder_inputs,
    own_inputs,
    refuse_other_inputs,
    refuse_other_texts,
    taken_by,
    visible_tokens,
)
from ligflow.inputs.frames import name_frames, seconds_of
from ligflow.inputs.lookups import known_rows
from ligflow.inputs.pairs import Pair, encode_pair
from ligflow.inputs.patches import name_patches, patches_of
from ligflow.inputs.token_names import Layers, Names, layer_positions, token_positions
from ligflow.inputs.tokens import Tokens, encode, name_inputs, name_parts, position_limit, text_config
from ligflow.inputs.words import Words
from ligflow.layer.float64 import real_type_of
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.method.baselines import Baseline
from ligflow.method.quadrature import MAX_NODES
from ligflow.method.scalarization import Scalarization
from ligflow.names import default_model
from ligflow.progress import Progress, size_in_words, told
from ligflow.recording.as_loaded import watched
from ligflow.recording.inner_padding import given_rows, is_unseen
from ligflow.recording.record import record
from ligflow.recording.stacks import refuse_uneven
from ligflow.routes.corrections import model_attention
from ligflow.routes.workspace import Selection as LayerTokens
from ligflow.settings import ROUTES, Array, Settings, ask, every_route

_Encoded = tuple[dict[str, Tensor], Tokens | None]


class Explainer:
    """A loaded model and, for text, its tokenizer. The model is left as it was found after each call."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        name: str | None = None,
        revision: str | None = None,
        device: Devices | None = None,
        streamed: bool = False,
        offload_folder: str | Path | None = None,
        stack: str | None = None,
    ) -> None:
        """Takes a model of `transformers` as it is; half precision is integrated in a float32 copy.

        The model is also taken out of DataParallel, a `PeftModel`, a pipeline or a `SentenceTransformer`,
        with their tokenizer; the tokenizer also out of a processor, and by its name.
        `stack` names the layers to explain where a model has several stacks of them, by a part of their
        module's name: `decoder`, `vision_model`, ... Without it, of an encoder-decoder the encoder is
        explained. Weights made in inference mode have no
        gradients, so they are copied, and so are weights that are not on `device` (None: where they
        are). With `streamed` or several devices the model stays, and layers come to the devices one
        by one; `offload_folder` then keeps their weights on disk. Raises LigflowError for weights with
        NaN, and for a device that is not there.
        """
        model, found = model_of(model)
        tokenizer = tokenizer_of(found if tokenizer is None else tokenizer)
        if stack is not None and not isinstance(stack, str):
            raise LigflowError(f"stack is {stack!r}; give a part of the stack's name, e.g. stack='decoder'.")
        stack = stack or _stack_of_encoder(model)
        self.stack = stack
        self.decodes = bool(stack and model.config.is_encoder_decoder and not _is_of_encoder(stack))
        model, whole = model if stack else _encoder_of(model), model
        self.notes = weights_notes(model)
        devices = devices_of(device)
        _check_streaming(devices, streamed, offload_folder)
        with torch.inference_mode(False):
            self._prepared = PreparedModel(model, devices, streamed or len(devices) > 1, offload_folder)
        self.tokenizer = tokenizer
        self.name = name or getattr(whole, "name_or_path", "") or type(whole).__name__
        self.revision = revision or getattr(whole.config, "_commit_hash", None)

    @property
    def model(self) -> PreTrainedModel:
        """The model that was given, or a copy where weights are too short, elsewhere or without gradients.

        What ligflow runs is a private copy of its modules, on the same weights, made anew where it has
        changed.
        """
        return self._prepared.model

    @classmethod
    def from_pretrained(
        cls,
        name: pretrained.Name | None = None,
        device: Devices | None = None,
        dtype: torch.dtype | None = None,
        *,
        streamed: bool = False,
        offload_folder: str | Path | None = None,
        stack: str | None = None,
        **options: Any,
    ) -> "Explainer":
        """A hub id, a folder, or an embedded model (no name: MiniLM), loaded in float32 or `dtype`.

        With `streamed` or several devices the weights stay in the checkpoint's files or in CPU memory
        (in its own type; layers are integrated in float32), see Explainer, also for `stack`. `options` go to
        `transformers` (`revision`, `local_files_only`, `token`, ...); code that a checkpoint holds is run
        only with `trust_remote_code=True`. `unembedding=True` loads a causal language model with its
        unembedding (see `towards`). Raises LigflowError if the checkpoint cannot be loaded or a device is not
        there.
        """
        devices = devices_of(device)
        _check_streaming(devices, streamed, offload_folder)
        stays = streamed or len(devices) > 1
        with torch.inference_mode(False):
            asked = pretrained.dtype_of(dtype, options) or ("auto" if stays else None)
            model, tokenizer = pretrained.load(name, asked, **options)
            if devices and not stays:
                torch.nn.Module.to(model, devices[0])
        return cls(
            model, tokenizer, name=str(name or default_model()), revision=options.get("revision"),
            device=devices if stays else None, streamed=streamed, offload_folder=offload_folder, stack=stack,
        )  # fmt: skip

    def explain(
        self,
        inputs: Inputs,
        routes: str | Sequence[str] = ROUTES,
        layers: Layers | None = None,
        targets: Names | None = None,
        att_baseline: Baseline | Array = "itb",
        mlp_baseline: Baseline | Array = "att_itb_a0",
        layer_baseline: Baseline | Array = "itb",
        encoder_baseline: Baseline | Array = "mean",
        scalarization: Scalarization | Mapping[str, Scalarization] = "l2",
        quadrature: str = "adaptive",
        tol: float = 1e-3,
        max_nodes: int = MAX_NODES,
        memory_budget: int | None = None,
        precision: str = "float32",
        experts: str = "routed",
        truncate: bool = False,
        progress: Progress | None = None,
    ) -> Flow:
        """How much each source token contributes to each target token, inside every layer.

        `inputs` is a text, a text whose words are known (`Words`), two texts for a decoder with an encoder
        (`Pair`), a chat (messages `{"role": ..., "content": ...}`, through the tokenizer's template), or the
        model's own inputs for one example (with an attention mask, padded tokens are left out of the
        result). `layers` and `targets` are positions, one or several, counted from the end if negative; None
        means all. Layers may be a range, `"0-3,5"`, and targets what tokens say, `"cat"` or `["cat", -1]`
        (see `token_positions`). A decoder's layers that attend to an encoder give `e2u` with `z2u`, and have
        the encoder's tokens as sources besides their own, which start at `encoder_baseline`.
        `memory_budget` is how many bytes the blocks of work may take (by default a part of what is
        free); it does not change the result.
        `precision` is `float32`, exact whatever the process has set, or `tf32`, which lets CUDA round
        the factors of products to 10 bits. `experts` is `routed`, or `frozen`, which holds every token's
        experts at those of the real input along the path (see `routing`). `progress(done, of)` is called
        after each layer; True is a bar, and so is None on a terminal or in a notebook where it takes longer,
        which also says how long.

        Raises LigflowError for input that cannot be explained, UnsupportedModel for a layer that
        does not offer a route, and warns (CompletenessWarning) when cells miss `tol`.
        """
        settings = self._asked(
            routes=routes, att_baseline=att_baseline, mlp_baseline=mlp_baseline,
            layer_baseline=layer_baseline, encoder_baseline=encoder_baseline, scalarization=scalarization,
            quadrature=quadrature, tol=tol, max_nodes=max_nodes, memory_budget=memory_budget,
            precision=precision, experts=experts,
        )  # fmt: skip
        with exact_mode(self._prepared.home, settings.precision):
            example = self._prepare(self._encode(inputs, truncate), settings.routes, layers, targets)
            with told(progress, "layers", self._work(example, settings.routes)) as done:
                ((results,),) = compute(example.places, [example], [settings], done)
            return self._flow(example, results, settings)

    def _work(self, example: Example, routes: Iterable[str]) -> str:
        """What is to be done, in words, and how much its maps will take."""
        layers, rows, sources = len(example.layers), len(example.rows), len(example.tokens.labels)
        heads = getattr(text_config(self.model.config), "num_attention_heads", None) or 1
        heads = max(heads) if isinstance(heads, (list, tuple)) else heads  # one number for each stage
        maps = sum({"z2u": heads, "z2z": 1}.get(route, 0) for route in routes)
        taken = layers * rows * sources * maps * example.layers[0].hidden.element_size()
        return f"{sources} tokens x {layers} layers, maps of {size_in_words(taken)}"

    def explain_on(
        self,
        inputs: Inputs,
        other: "Explainer",
        layers: Layers | None = None,
        targets: Names | None = None,
        truncate: bool = False,
        **settings: Any,
    ) -> Flow:
        """`explain`, with every layer given the hidden states that the layer of another model has.

        What differs from the other's flow is then due to the layer itself, not to the layers before it.
        Raises LigflowError where the two do not have the same tokens, layers and sizes.
        """
        asked = self._asked(**settings)
        with exact_mode(self._prepared.home, asked.precision):
            example = self._prepare(self._encode(inputs, truncate), asked.routes, layers, targets)
            given = {layer.index: layer.hidden for layer in other.record(inputs, truncate)}
            _refuse_other_shapes(self, other, inputs, example, given)

            def moved(number: int) -> Layer:
                layer = example.layers[number]
                with self.lent(layer):
                    return layer.on_input(given[layer.index].to(layer.hidden))

            example = replace(example, layers=[moved(number) for number in range(len(example.layers))])
            ((results,),) = compute(example.places, [example], [asked])
            return self._flow(example, results, asked, hidden_states_of=other.name)

    def _asked(self, **given: Any) -> Settings:
        """Settings that this explainer's devices can serve."""
        check_precision(given.get("precision", "float32"), self._prepared.devices or [self._prepared.home])
        return ask(**given)

    def explain_under(
        self,
        inputs: Inputs,
        variants: Sequence[Mapping[str, Any]],
        layers: Layers | None = None,
        targets: Names | None = None,
        truncate: bool = False,
        progress: Progress | None = None,
    ) -> list[Flow]:
        """One text under several settings (each a mapping of those of `explain`): a flow for each.

        What settings have in common is computed once: the paths of a baseline, and every map that two
        of them ask for.
        """
        asked = self._asked_together(variants)
        with exact_mode(self._prepared.home, asked[0].precision):
            example = self._prepare(self._encode(inputs, truncate), every_route(asked), layers, targets)
            with told(progress, "layers", self._work(example, every_route(asked))) as done:
                found = compute(example.places, [example], asked, done)
            return [
                self._flow(example, results, settings)
                for settings, (results,) in zip(asked, found, strict=True)
            ]

    def explain_many(
        self,
        texts: Iterable[Inputs],
        *,
        layers: Layers | None = None,
        targets: Names | None = None,
        batch_size: int | None = None,
        truncate: bool = False,
        progress: Progress | None = None,
        left_out: LeftOut = warn_left_out,
        **settings: Any,
    ) -> Iterator[Flow]:
        """A flow for each text, in the order of the texts, equal to those of `explain` one at a time.

        Texts of similar length go through each layer together (`batch_size` at a time, by default as
        many as pay on the device). `settings` are those of `explain`. `progress(done, of)` counts
        texts, as the layers of those at work get done; `of` is 0 where their number is not known. True and
        None are as in `explain`.

        A text that cannot be explained is left out: `left_out(number, text, error)` is called, which by
        default warns (TextWarning) with its name and the reason. `flow.meta["index"]` tells which text a
        flow belongs to. Raises LigflowError for settings that are wrong for every text.
        """
        flows = self.explain_many_under(
            texts, [settings], layers=layers, targets=targets, batch_size=batch_size, truncate=truncate,
            progress=progress, left_out=left_out,
        )  # fmt: skip
        return (flow for (flow,) in flows)

    def explain_many_under(
        self,
        texts: Iterable[Inputs],
        variants: Sequence[Mapping[str, Any]],
        *,
        layers: Layers | None = None,
        targets: Names | None = None,
        batch_size: int | None = None,
        truncate: bool = False,
        progress: Progress | None = None,
        left_out: LeftOut = warn_left_out,
    ) -> Iterator[list[Flow]]:
        """`explain_under` for each text, in the order of the texts: a flow for each of the variants.

        Texts go through the layers together and are left out as in `explain_many`.
        """
        if isinstance(texts, str | Words | Pair | Mapping) or is_chat(texts):
            raise LigflowError("Several texts are expected, e.g. a list; for one, call explain.")
        asked = self._asked_together(variants)
        by_length({}, batch_size, "")
        count = len(texts) if isinstance(texts, Sized) else 0
        device = self._prepared.home.type

        def flows(tally: Tally) -> Iterator[list[Flow]]:
            for window in windows(texts):
                encoded = {}
                for number, text in window:
                    with leaving_out(number, text, left_out):
                        encoded[number] = self._encode(text, truncate)
                found: dict[int, list[Flow]] = {}
                tally.add(len(window) - len(encoded))
                lengths = {n: length_of(inputs) for n, (inputs, _) in encoded.items()}
                for group in by_length(lengths, batch_size, device):
                    some = {n: encoded[n] for n in group}
                    found |= self._explain_group(some, asked, layers, targets, left_out, tally)
                for number in sorted(found):
                    yield found.pop(number)

        def with_bar() -> Iterator[list[Flow]]:
            with told(progress, "texts", f"{count} texts") as done:
                yield from flows(Tally(done, count))

        return with_bar()

    def _asked_together(self, variants: Sequence[Mapping[str, Any]]) -> list[Settings]:
        """The settings of several variants, which share one computation."""
        asked = [self._asked(**variant) for variant in variants]
        if not asked:
            raise LigflowError("No settings were given; give at least one mapping, e.g. [{}].")
        if len({settings.precision for settings in asked}) > 1:
            raise LigflowError("The settings differ in precision; ask for one precision at a time.")
        return asked

    def _explain_group(
        self,
        encoded: dict[int, _Encoded],
        settings: list[Settings],
        layers: Layers | None,
        targets: Names | None,
        left_out: LeftOut,
        tally: Tally,
    ) -> dict[int, list[Flow]]:
        """Flows by number. If the group fails together its texts are tried one by one."""
        examples = {}
        with exact_mode(self._prepared.home, settings[0].precision):
            now = self._prepared.now()
            for number, one in encoded.items():
                with leaving_out(number, one[1].text if one[1] else None, left_out):
                    examples[number] = self._prepare(one, every_route(settings), layers, targets, now)
            tally.add(len(encoded) - len(examples))
            found: dict[int, list[Flow]] = {}
            for group in alike(examples):
                try:
                    found |= self._together({n: examples[n] for n in group}, settings, tally)
                except (LigflowError, RuntimeError):
                    for number in group:
                        with leaving_out(number, examples[number].tokens.text, left_out):
                            found |= self._together({number: examples[number]}, settings, tally)
                tally.add(len(group))
        return found

    def _together(
        self, examples: dict[int, Example], settings: list[Settings], tally: Tally
    ) -> dict[int, list[Flow]]:
        some = list(examples.values())
        found = compute(some[0].places, some, settings, tally.at_work(len(some)))
        return {
            number: [
                self._flow(example, results[place], asked, index=number)
                for asked, results in zip(settings, found, strict=True)
            ]
            for place, (number, example) in enumerate(examples.items())
        }

    def attention(
        self,
        inputs: Inputs,
        layers: Layers | None = None,
        targets: Names | None = None,
        truncate: bool = False,
    ) -> Float[Tensor, "layer head target source"]:
        """The model's own attention weights, for comparison; rows sum to 1 (less where there are sinks).

        Layers, targets and sources are those of `explain`. It takes one run of the model.
        """
        with exact_mode(self._prepared.home):
            encoded = self._encode(inputs, truncate)
            example = self._prepare(encoded, ("z2u",), layers, targets)
            place = example.place

            def of_layer(number: int) -> Tensor:
                layer = example.layers[number]
                tokens = place.on(layer.hidden.device)
                found = model_attention(layer, tokens.targets)
                return found[..., tokens.visible].transpose(0, 1).cpu()

            return torch.stack(example.places.compute(example.layers, of_layer, None))

    def _prepare(
        self,
        encoded: _Encoded,
        routes: tuple[str, ...],
        layers: Layers | None,
        targets: Names | None,
        now: Prepared | None = None,
    ) -> Example:
        """One run of the model, and which of its layers and tokens are asked about."""
        now = now or self._prepared.now()
        inputs, tokens = encoded
        recorded = self._record(inputs, now)
        chosen = [recorded[i] for i in layer_positions(layers, len(recorded))]
        chosen = now.places.spread(chosen)
        refuse_uneven(chosen)
        inputs = self._behind(inputs, recorded[0], now)
        inside = self._inside(inputs, recorded[0], chosen, now)
        count = len(chosen[0].hidden) if inside is None else len(inside)
        visible = self.visible(inputs, chosen[0]) if inside is None else self._given(inputs, inside)
        tokens = self._named(tokens, inputs, count, chosen[0].layout.parts)
        tokens = shown(tokens, visible if inside is None else self._given(inputs, torch.arange(count)))
        rows = token_positions(targets, tokens.labels)
        chosen, left_out = splittable(now.validated(chosen), layers is not None, routes)
        seen, memory = self._memory(inputs, chosen[0])
        place = LayerTokens(visible, visible[torch.tensor(rows, device=visible.device)], seen)
        notes = [*self.notes, *left_out, *tokens.notes, *self._passed_over(encoded)]
        return Example(tokens, rows, chosen, place, notes, now.places, memory)

    def _inside(
        self, inputs: dict[str, Tensor], first: Layer, chosen: Sequence[Layer], now: Prepared
    ) -> Int[Tensor, " given"] | None:
        """The places of the given tokens in layers that have others too, the model's own padding."""

        def again(name: str, other: Tensor) -> Layer:
            return self._record(inputs | {f"decoder_{name}" if self.decodes else name: other}, now)[0]

        rows = given_rows(own_inputs(inputs, self.decodes), first, again)
        if rows is None or any(len(layer.hidden) != len(first.hidden) for layer in chosen):
            return None
        for layer in chosen:
            with self.lent(layer):
                if not is_unseen(layer, rows):
                    return None
        return rows

    def _given(self, inputs: Mapping[str, Tensor], rows: Int[Tensor, " given"]) -> Int[Tensor, " visible"]:
        """Of the rows of given tokens those that their own mask does not hide."""
        return rows[visible_tokens(self.model, own_inputs(inputs, self.decodes), rows)]

    def _passed_over(self, encoded: _Encoded) -> list[str]:
        """A note about given inputs that the model does not take; what a tokenizer adds needs none."""
        inputs, tokens = encoded
        others = sorted(inputs.keys() - taken_by(self.model, inputs)) if tokens is None else []
        return [f"not taken by {type(self.model).__name__}: {', '.join(others)}"] if others else []

    def _memory(self, inputs: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor | None, Tokens | None]:
        """The tokens of the encoder that a layer attends to, and which of them are not padding."""
        if not layer.findings.memory:
            return None, None
        given = inputs if self.decodes else {}
        mask = given.get("attention_mask", inputs.get("encoder_attention_mask"))
        seen = visible_tokens(self.model, {} if mask is None else {"attention_mask": mask}, layer.encoded)
        seconds, count = seconds_of(self.model.config, given), len(layer.encoded)
        named = name_inputs(self.tokenizer, given, count) if seconds is None else name_frames(seconds, count)
        return seen, shown(named, seen)

    def _flow(self, example: Example, results: Results, settings: Settings, **more: Any) -> Flow:
        return warn_unmet(flow_of(example, results, settings, example.places, self._about() | more))

    def _about(self) -> dict[str, Any]:
        about = {"model": self.name, "revision": self.revision, "model_class": type(self.model).__name__}
        return about | ({"stack": self.stack} if self.stack else {})

    def record(self, inputs: Inputs, truncate: bool = False) -> list[Layer]:
        """The model's layers on one example, recorded, validated and ready to be replayed."""
        with exact_mode(self._prepared.home):
            now = self._prepared.now()
            layers = now.places.spread(self._record(self._encode(inputs, truncate)[0], now))
            return now.validated(layers)

    def watched(self, inputs: Inputs, names: Iterable[str]) -> dict[str, list[tuple[Tensor, Tensor]]]:
        """What modules take (first) and give in each of their calls, as the model was loaded, by name."""
        encoded, now = taken_by(self.model, self._encode(inputs, truncate=False)[0]), self._prepared.now()
        model = cast(PreTrainedModel, now.places.model)
        with exact_mode(self._prepared.home), self._running(encoded, now), prepared(model, None):
            return watched(model, encoded, names)

    def visible(self, inputs: Mapping[str, Tensor], layer: Layer) -> Int[Tensor, " visible"]:
        """Positions of a recorded layer's tokens that are not padding."""
        return visible_tokens(self.model, own_inputs(inputs, self.decodes), layer.hidden)

    def _behind(self, inputs: dict[str, Tensor], first: Layer, now: Prepared) -> dict[str, Tensor]:
        """Of a text and an image, what the first layer sees: one tower of two has one of them."""
        text, image = inputs.get("input_ids"), inputs.get("pixel_values")
        if text is None or image is None or not self.stack:
            return inputs

        def seen(changed: Tensor, name: str) -> bool:
            return not torch.equal(self._record(inputs | {name: changed}, now)[0].hidden, first.hidden)

        sees_text, sees_image = seen(text.flip(-1), "input_ids"), seen(-image, "pixel_values")
        unseen = {"pixel_values"} if not sees_image else set()
        unseen |= {"input_ids", "attention_mask"} if not sees_text else set()
        return {name: one for name, one in inputs.items() if name not in unseen}

    def place(self, inputs: Mapping[str, Tensor], layer: Layer) -> LayerTokens:
        """The tokens of a recorded layer, and of its memory, that are not padding; all are targets."""
        visible = self.visible(inputs, layer)
        return LayerTokens(visible, visible, self._memory(inputs, layer)[0]).on(layer.hidden.device)

    def lent(self, layer: Layer) -> AbstractContextManager[None]:
        """The model as a recorded layer is replayed in it: on its attention, with its weights in place."""
        return self._prepared.places_of(layer.module).lent(layer)

    def size(self, inputs: Inputs, truncate: bool = False) -> tuple[int, int]:
        """How many layers the model has, and the most heads of those that can be split (0 if none can).

        It takes one run of the model.
        """
        with exact_mode(self._prepared.home):
            now = self._prepared.now()
            layers = self._record(self._encode(inputs, truncate)[0], now)
            split = [layer for layer in layers if layer.mode != "whole"]

            def heads(number: int) -> int:
                layer = split[number]
                with prepared(now.places.model, layer.implementation), torch.no_grad():
                    return layer.attend(layer.hidden[None]).shape[2]

            return len(layers), max(now.places.in_turn(split, heads), default=0)

    def labels(self, inputs: Inputs) -> list[str]:
        """The tokens of some inputs as a flow names them, without running the model."""
        encoded, tokens = self._encode(inputs, truncate=False)
        own = own_inputs(encoded, self.decodes)
        first = next(iter((own or encoded).values()))
        return list(self._named(tokens, encoded, first.shape[1]).labels)

    def _encode(self, inputs: Inputs, truncate: bool) -> _Encoded:
        refuse_other_inputs(inputs)
        limit = position_limit(self.model, self.tokenizer)
        refuse_other_texts(inputs, self.decodes)
        if isinstance(inputs, Pair):
            encoded, tokens = encode_pair(self.tokenizer, self.model.config, inputs, limit, truncate)
        elif isinstance(inputs, str | Words):
            encoded, tokens = encode(self.tokenizer, inputs, limit, truncate)
        elif isinstance(inputs, Mapping):
            codebooks = codebooks_of(self.model.config)
            encoded, tokens = check_inputs(inputs, limit, self._decoder_inputs(), codebooks), None
        else:
            encoded, tokens = encode_chat(self.tokenizer, inputs, limit, truncate)
        # clones, since tensors made in inference mode cannot take part in a backward pass
        return {name: self._own(value).clone() for name, value in encoded.items()}, tokens

    def _own(self, given: Tensor) -> Tensor:
        """An input where the model takes it, real numbers in the type that is integrated in."""
        real = real_type_of(self.model)
        return given.to(self._prepared.home, real if given.is_floating_point() else given.dtype)

    def _decoder_inputs(self) -> list[str] | None:
        """Inputs of which a decoder needs one; None where those of a decoder have no place."""
        if self.decodes:
            return decoder_inputs(self.model)
        return None if getattr(self.model.config, "is_encoder_decoder", False) else []

    def _named(self, tokens: Tokens | None, encoded: dict[str, Tensor], count: int, parts: int = 1) -> Tokens:
        """The text's own tokens, unless the layers have others."""
        if tokens is not None and len(tokens.labels) == count:
            return tokens
        if parts > 1:
            return name_parts(parts, count)
        own = own_inputs(encoded, self.decodes)
        config = self.model.config
        patches, seconds = patches_of(config, own, count), seconds_of(config, own)
        if patches is not None:
            return name_patches(patches, count)
        return name_inputs(self.tokenizer, own, count) if seconds is None else name_frames(seconds, count)

    def _record(self, encoded: dict[str, Tensor], now: Prepared) -> list[Layer]:
        encoded = taken_by(self.model, encoded)
        with self._running(encoded, now):
            return record(cast(PreTrainedModel, now.places.model), encoded, self.stack)

    @contextmanager
    def _running(self, encoded: dict[str, Tensor], now: Prepared) -> Iterator[None]:
        """The model can be run; errors of its own code name it and what it was given."""
        try:
            with now.places.running(), known_rows(now.places.model, encoded):
                yield
        except LigflowError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError) as error:
            given = ", ".join(f"{name}{list(value.shape)}" for name, value in encoded.items())
            kind = type(self.model).__name__
            raise LigflowError(f"{kind} could not run on these inputs ({given}): {error}") from error


def explain(inputs: Inputs, model: Any = None, tokenizer: Any = None, **settings: Any) -> Flow:
    """`Explainer.from_pretrained(model).explain(inputs, **settings)`, for a first look.

    `model` may also be one that is loaded, with its tokenizer.
    """
    if model is None or isinstance(model, str | os.PathLike):
        explainer = Explainer.from_pretrained(model)
    else:
        explainer = Explainer(model, tokenizer)
    return explainer.explain(inputs, **settings)


def _refuse_other_shapes(
    own: Explainer, other: Explainer, inputs: Inputs, example: Example, given: Mapping[int, Tensor]
) -> None:
    """Raises LigflowError where a layer cannot be given the hidden states of the other model's."""
    if own.labels(inputs) != other.labels(inputs):
        raise LigflowError(
            f"{own.name} and {other.name} cut this text into different tokens, so that their hidden states "
            "do not belong to each other; explain each on its own, and compare words."
        )
    for layer in example.layers:
        here, there = tuple(layer.hidden.shape), given.get(layer.index)
        if there is None or tuple(there.shape) != here:
            raise LigflowError(
                f"Layer {layer.index} of {own.name} takes hidden states of shape {here}, and that of "
                f"{other.name} " + (f"has {tuple(there.shape)}." if there is not None else "is not there.")
            )


def _stack_of_encoder(model: PreTrainedModel) -> str | None:
    """The encoder's name where it is explained inside its model, which makes its inputs (DETR)."""
    if not getattr(model.config, "is_encoder_decoder", False) or model.main_input_name == "input_ids":
        return None
    encoder = model.get_encoder()
    if not isinstance(encoder, PreTrainedModel) or encoder is model:
        return None
    if model.main_input_name in inspect.signature(encoder.forward).parameters:
        return None
    return next(name for name, part in model.named_modules() if part is encoder)


def _is_of_encoder(stack: str) -> bool:
    """Whether a stack's name is that of an encoder; a decoder may be one that was trained as an encoder."""
    first = re.search("encoder|decoder", stack)
    return first is not None and first[0] == "encoder"


def _encoder_of(model: PreTrainedModel) -> PreTrainedModel:
    if not getattr(model.config, "is_encoder_decoder", False):
        return model
    encoder = model.get_encoder()
    return encoder if isinstance(encoder, PreTrainedModel) else model


def _check_streaming(
    devices: tuple[torch.device, ...], streamed: bool, offload_folder: str | Path | None
) -> None:
    """Weights that stay need a device to come to."""
    if streamed and not devices:
        raise LigflowError(
            f"streamed=True needs the device that layers come to, e.g. device='cuda'; present: "
            f"{', '.join(present())}."
        )
    if offload_folder is not None and not streamed and len(devices) < 2:
        raise LigflowError("offload_folder is for streamed layers; add streamed=True.")
