"""Explainer: a model, ready to be asked how its tokens flow."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from ligflow.devices.available import Devices, devices_of, present
from ligflow.devices.precision import check_precision, exact_mode
from ligflow.errors import LigflowError
from ligflow.explainer import predictions, pretrained
from ligflow.explainer.assembly import assemble
from ligflow.explainer.batching import Batching, LeftOut, OnExample, Tally, by_length, warn_left_out
from ligflow.explainer.computation import attention_of, compute, work_in_words
from ligflow.explainer.estimate import estimate
from ligflow.explainer.other_input import on_hidden_states_of
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.explainer.unwrapping import model_of, tokenizer_of
from ligflow.explainer.whole import Whole
from ligflow.flow import Flow
from ligflow.inputs.chat import is_chat
from ligflow.inputs.checks import Inputs
from ligflow.inputs.pairs import Pair
from ligflow.inputs.token_names import Layers, Names
from ligflow.inputs.words import Words
from ligflow.names import Route, default_model
from ligflow.progress import Progress, told
from ligflow.settings import ROUTES, RouteOptions, Settings, SettingsOptions, ask, every_route, with_settings


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
        model, own_tokenizer = model_of(model)
        tokenizer = tokenizer_of(own_tokenizer if tokenizer is None else tokenizer)
        devices = devices_of(device)
        _check_streaming(devices, streamed, offload_folder)
        self._options: dict[str, Any] = {
            "tokenizer": tokenizer, "name": name, "revision": revision, "stack": stack, "devices": devices,
            "streamed": streamed, "offload_folder": offload_folder,
        }  # fmt: skip
        self.prepared = PreparedModel(model, **self._options)
        self._whole = Whole(self.prepared, model, self._options)

    @property
    def whole(self) -> PreparedModel:
        """The model with its head, prepared on the same weights: what predicts, where flows need no head.

        It is never one side of an encoder-decoder. Of a checkpoint it has the head that this names;
        `whole.headless` says why there is none. It is made when it is first asked for.
        """
        return self._whole.prepared()

    @property
    def model(self) -> PreTrainedModel:
        """The model that was given, or a copy where weights are too short, elsewhere or without gradients.

        What ligflow runs is a private copy of its modules, on the same weights, made anew where it has
        changed.
        """
        return self.prepared.model

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, None where there is none."""
        return self.prepared.tokenizer

    @property
    def name(self) -> str:
        """What flows call the model."""
        return self.prepared.name

    @property
    def revision(self) -> str | None:
        """The version of a model of the hub, if it is known."""
        return self.prepared.revision

    @property
    def stack(self) -> str | None:
        """The name of the stack of layers that is explained; None where the model has one."""
        return self.prepared.stack

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
            kind = pretrained.dtype_of(dtype, options) or ("auto" if stays else None)
            loaded = pretrained.load_whole(name, kind, **options)
            if devices and not stays:
                for model in (loaded.whole, loaded.model):
                    torch.nn.Module.to(model, devices[0])
        explainer = cls(
            loaded.model, loaded.tokenizer, name=str(name or default_model()),
            revision=options.get("revision"), device=devices if stays else None, streamed=streamed,
            offload_folder=offload_folder, stack=stack,
        )  # fmt: skip
        explainer.prepared.headless = loaded.headless
        explainer._whole = Whole(explainer.prepared, loaded.whole, explainer._options)
        return explainer

    @with_settings
    def explain(
        self,
        inputs: Inputs,
        routes: Route | str | Iterable[str] = ROUTES,
        layers: Layers | None = None,
        targets: Names | None = None,
        *,
        truncate: bool = False,
        progress: Progress | None = None,
        **options: Unpack[RouteOptions],
    ) -> Flow:
        """How much each source token contributes to each target token, inside every layer.

        *Main arguments*:

        - `inputs`: a text, a text whose words are known (`Words`), two texts for a decoder with an encoder
          (`Pair`), a chat (messages `{"role": ..., "content": ...}`, through the tokenizer's template), or
          the model's own inputs for one example (tokens that an attention mask hides are left out).
        - `routes`: which maps, of `z2u` (what heads read), `u2z` (which heads write) and `z2z` (token to
          token); a decoder's layers that attend to an encoder give `e2u` with `z2u`.
        - `layers`: positions, one or several, counted from the end if negative, or a range, `"0-3,5"`; None
          means all.
        - `targets`: positions, or what tokens say, `"cat"` or `["cat", -1]` (see `token_positions`); None
          means all.

        *Other arguments*:

        - `att_baseline`: where z2u starts (see `method.baselines`): `itb`, from the target's own vector,
          `zero`, `mean`, a corrected `itb` (`itb_zero_ratio`, `itb_map_ratio`), or vectors `[T, D]` or `[D]`.
        - `mlp_baseline`: where u2z starts: `att_itb_a0`, `zero`, `matched` (where z2u started) or vectors u.
        - `layer_baseline`: where z2z starts: `itb`, `zero`, `mean`, `itb_zero_ratio` or vectors.
        - `encoder_baseline`: where the encoder's tokens start that a decoder's layers attend to: `mean`,
          `zero` or vectors.
        - `scalarization`: a vector's change as a number (see `method.scalarization`): `l2`, `projection` or a
          `direction`, for all routes or by route.
        - `quadrature`: `adaptive`, until `tol` holds, `fine`, or a fixed rule, e.g. `gauss-legendre:8`.
        - `tol`: the largest error of a cell, relative to its row's scale.
        - `max_nodes`: points of a path after which a target is given up, with a warning.
        - `memory_budget`: bytes that the blocks of work may take (None: a part of what is free); it changes
          no result.
        - `precision`: `float32`, exact whatever the process has set, or `tf32`, in which CUDA rounds the
          factors of products to 10 bits.
        - `experts`: `routed`, or `frozen`, which holds every token's experts at those of the real input.
        - `parts`: whether z2u is split too, by value, key and query (`flow.parts`), and e2u
          (`flow.cross_parts`).
        - `split`: whether z2z is split too, by head and by what then passes through the MLP
          (`flow.z2z_heads`, `flow.z2z_mlp`).
        - `carried`: whether each layer starts at what the layer before made of its start, beginning with the
          baseline at the first of the layers, so that maps chain (see `results.trace`).
        - `truncate`: cuts a text that is too long for the model, in place of an error.
        - `progress`: `progress(done, of)` is called after each layer; True is a bar, and so is None on a
          terminal or in a notebook where it takes longer, which also says how long.

        Raises LigflowError for input that cannot be explained, UnsupportedModel for a layer that
        does not offer a route, and warns (CompletenessWarning) when cells miss `tol`.
        """
        settings = self._settings(routes=routes, **options)
        model = self.prepared
        with exact_mode(model.home, settings.precision):
            example = model.example(model.encode(inputs, truncate), settings.routes, layers, targets)
            work = work_in_words(example, settings.routes, model.model.config)
            with told(progress, "layers", work) as done:
                ((results,),) = compute([example], [settings], done)
            return assemble(example, results, settings)

    @with_settings
    def explain_on(
        self,
        inputs: Inputs,
        other: "Explainer",
        layers: Layers | None = None,
        targets: Names | None = None,
        truncate: bool = False,
        **options: Unpack[SettingsOptions],
    ) -> Flow:
        """`explain`, with every layer given the hidden states that the layer of another model has.

        What differs from the other's flow is then due to the layer itself, not to the layers before it.
        Raises LigflowError where the two do not have the same tokens, layers and sizes.
        """
        settings, model = self._settings(**options), self.prepared
        with exact_mode(model.home, settings.precision):
            example = model.example(model.encode(inputs, truncate), settings.routes, layers, targets)
            example = on_hidden_states_of(other.prepared, model, example, inputs, truncate)
            ((results,),) = compute([example], [settings])
            return assemble(example, results, settings, hidden_states_of=other.name)

    def _settings(self, **options: Unpack[SettingsOptions]) -> Settings:
        """Settings that this explainer's devices can serve."""
        check_precision(options.get("precision", Settings.precision), self.prepared.devices)
        return ask(**options)

    def _settings_together(self, variants: Sequence[Mapping[str, Any]]) -> list[Settings]:
        """The settings of several variants, which share one computation."""
        every = [self._settings(**variant) for variant in variants]
        if not every:
            raise LigflowError("No settings were given; give at least one mapping, e.g. [{}].")
        if len({settings.precision for settings in every}) > 1:
            raise LigflowError("The settings differ in precision; ask for one precision at a time.")
        return every

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
        every, model = self._settings_together(variants), self.prepared
        routes = every_route(every)
        with exact_mode(model.home, every[0].precision):
            example = model.example(model.encode(inputs, truncate), routes, layers, targets)
            with told(progress, "layers", work_in_words(example, routes, model.model.config)) as done:
                by_settings = compute([example], every, done)
            return [
                assemble(example, results, settings)
                for settings, (results,) in zip(every, by_settings, strict=True)
            ]

    @with_settings
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
        **settings: Unpack[SettingsOptions],
    ) -> Iterator[Flow]:
        """A flow for each text, in the order of the texts, equal to those of `explain` one at a time.

        *Main arguments*:

        - `texts`: what `explain` takes, many of them; an iterator is read a few hundred at a time.
        - `layers`, `targets` and `settings`: those of `explain`, for every text.

        *Other arguments*:

        - `batch_size`: how many go through a layer together, of similar length; None: as many as pay on the
          device.
        - `truncate`: cuts texts that are too long for the model.
        - `progress`: `progress(done, of)` counts texts, as the layers of those at work get done; `of` is 0
          where their number is not known. True and None are as in `explain`.
        - `left_out`: `left_out(number, text, error)` is called for a text that cannot be explained, which is
          left out; by default it warns (TextWarning) with its name and the reason.

        `flow.meta["index"]` tells which text a flow belongs to. Raises LigflowError for settings that are
        wrong for every text.
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
        on_example: OnExample | None = None,
    ) -> Iterator[list[Flow]]:
        """`explain_under` for each text, in the order of the texts: a flow for each of the variants.

        Texts go through the layers together and are left out as in `explain_many`. `on_example(number,
        example)` is called for each text that is explained, with its layers as they were recorded.
        """
        if isinstance(texts, str | Words | Pair | Mapping) or is_chat(texts):
            raise LigflowError("Several texts are expected, e.g. a list; for one, call explain.")
        every = self._settings_together(variants)
        by_length({}, batch_size, "")
        count = len(texts) if isinstance(texts, Sized) else 0
        batching = Batching(self.prepared, every, layers, targets, batch_size, truncate, left_out, on_example)

        def flows() -> Iterator[list[Flow]]:
            with told(progress, "texts", f"{count} texts") as done:
                yield from batching.flows(texts, Tally(done, count))

        return flows()

    estimate = with_settings(estimate)
    explain_prediction = predictions.explain_prediction
    estimate_prediction = predictions.estimate_prediction
    explain_answer = predictions.explain_answer
    explain_similarity = predictions.explain_similarity
    explain_predictions = predictions.explain_predictions

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
        model = self.prepared
        with exact_mode(model.home):
            return attention_of(model.example(model.encode(inputs, truncate), ("z2u",), layers, targets))


def explain(inputs: Inputs, model: Any = None, tokenizer: Any = None, **settings: Any) -> Flow:
    """`Explainer.from_pretrained(model).explain(inputs, **settings)`, for a first look.

    `model` may also be one that is loaded, with its tokenizer.
    """
    if model is None or isinstance(model, str | os.PathLike):
        explainer = Explainer.from_pretrained(model)
    else:
        explainer = Explainer(model, tokenizer)
    return explainer.explain(inputs, **settings)


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
