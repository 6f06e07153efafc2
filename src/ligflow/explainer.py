"""Explainer: a model, ready to be asked how its tokens flow."""

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ligflow import pretrained
from ligflow.assembly import describe_unmet, flow_of
from ligflow.baselines import Baseline
from ligflow.batches import alike, by_length, leaving_out, length_of, windows
from ligflow.errors import LigflowError
from ligflow.examples import Example, Results, Validated, compute, shown, splittable
from ligflow.flow import Flow
from ligflow.inputs import Positions, check_inputs, positions, refuse_other_inputs, visible_tokens
from ligflow.quadrature import MAX_NODES
from ligflow.recording import record, refuse_uneven, validate
from ligflow.replay import Layer, borrowed, exact_mode
from ligflow.routes import Tokens as LayerTokens
from ligflow.scalarize import Scalarization
from ligflow.settings import ROUTES, Array, Settings, ask
from ligflow.tokens import Tokens, encode, name_inputs, position_limit

Progress = Callable[[int, int], None]
_Encoded = tuple[dict[str, Tensor], Tokens | None]


class CompletenessWarning(UserWarning):
    """Some cells miss the tolerance; `flow.unmet` names them."""


class Explainer:
    """A loaded model and, for text, its tokenizer. The model is left as it was found after each call."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any = None,
        *,
        name: str | None = None,
        revision: str | None = None,
    ) -> None:
        """Takes a model of `transformers` as it is; half precision is integrated in a float32 copy.

        Of an encoder-decoder the encoder is explained. Weights made in inference mode have no
        gradients, so they are copied. Raises LigflowError for weights with NaN.
        """
        if not isinstance(model, PreTrainedModel):
            _refuse_other_models(model)
        self.notes: list[str] = []
        with torch.inference_mode(False):
            self.model = self._usable(_encoder_of(model))
        self.tokenizer = tokenizer
        self.name = name or getattr(model, "name_or_path", "") or type(model).__name__
        self.revision = revision or getattr(model.config, "_commit_hash", None)
        self._validated = Validated(self.model)
        _check_weights(self.model)

    @classmethod
    def from_pretrained(
        cls,
        name: str | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> "Explainer":
        """A hub id, a folder, or an embedded model (no name: MiniLM), loaded in float32 or `dtype`.

        `options` go to `transformers` (`revision`, `local_files_only`, `token`, ...). Raises
        LigflowError if the checkpoint cannot be loaded or the device is not there.
        """
        place = _device(device)
        with torch.inference_mode(False):
            model, tokenizer = pretrained.load(name, dtype, **options)
            torch.nn.Module.to(model, place)
        return cls(model, tokenizer, name=name or pretrained.DEFAULT, revision=options.get("revision"))

    def explain(
        self,
        inputs: str | Mapping[str, Tensor],
        routes: str | Sequence[str] = ROUTES,
        layers: Positions | None = None,
        targets: Positions | None = None,
        att_baseline: Baseline | Array = "itb",
        mlp_baseline: Baseline | Array = "att_itb_a0",
        layer_baseline: Baseline | Array = "itb",
        scalarization: Scalarization | Mapping[str, Scalarization] = "l2",
        quadrature: str = "adaptive",
        tol: float = 1e-3,
        max_nodes: int = MAX_NODES,
        memory_budget: int | None = None,
        truncate: bool = False,
        progress: Progress | None = None,
    ) -> Flow:
        """How much each source token contributes to each target token, inside every layer.

        `inputs` is a text, or the model's own inputs for one example (with an attention mask, padded
        tokens are left out of the result). `layers` and `targets` are positions, one or several,
        counted from the end if negative; None means all. `memory_budget` is how many bytes the blocks
        of work may take (by default a part of what is free); it does not change the result.
        `progress(done, of)` is called after each layer.

        Raises LigflowError for input that cannot be explained, UnsupportedModel for a layer that
        does not offer a route, and warns (CompletenessWarning) when cells miss `tol`.
        """
        settings = ask(
            routes, att_baseline, mlp_baseline, layer_baseline, scalarization, quadrature, tol, max_nodes,
            memory_budget,
        )  # fmt: skip
        with exact_mode(self.model.device):
            example = self._prepare(self._encode(inputs, truncate), settings, layers, targets)
            ((results,),) = compute(self.model, [example], [settings], progress)
            return self._flow(example, results, settings)

    def explain_under(
        self,
        inputs: str | Mapping[str, Tensor],
        variants: Sequence[Mapping[str, Any]],
        layers: Positions | None = None,
        targets: Positions | None = None,
        truncate: bool = False,
        progress: Progress | None = None,
    ) -> list[Flow]:
        """One text under several settings (each a mapping of those of `explain`): a flow for each.

        What settings have in common is computed once: the paths of a baseline, and every map that two
        of them ask for.
        """
        asked = [ask(**variant) for variant in variants]
        if not asked:
            raise LigflowError("No settings were given; give at least one mapping, e.g. [{}].")
        routes = {route: None for settings in asked for route in settings.routes}
        with exact_mode(self.model.device):
            every = replace(asked[0], routes=tuple(routes))
            example = self._prepare(self._encode(inputs, truncate), every, layers, targets)
            found = compute(self.model, [example], asked, progress)
            return [
                self._flow(example, results, settings)
                for settings, (results,) in zip(asked, found, strict=True)
            ]

    def explain_many(
        self,
        texts: Iterable[str | Mapping[str, Tensor]],
        *,
        layers: Positions | None = None,
        targets: Positions | None = None,
        batch_size: int | None = None,
        truncate: bool = False,
        progress: Progress | None = None,
        **settings: Any,
    ) -> Iterator[Flow]:
        """A flow for each text, in the order of the texts, equal to those of `explain` one at a time.

        Texts of similar length go through each layer together (`batch_size` at a time, by default as
        many as pay on the device). `settings` are those of `explain`. `progress(done, of)` counts
        texts; `of` is 0 where their number is not known.

        A text that cannot be explained is left out, with a TextWarning that names it and the reason;
        `flow.meta["index"]` tells which text a flow belongs to. Raises LigflowError for settings that
        are wrong for every text.
        """
        if isinstance(texts, str | Mapping):
            raise LigflowError("explain_many takes several texts, e.g. a list; for one, call explain.")
        asked = ask(**settings)
        by_length({}, batch_size, "")
        count = len(texts) if isinstance(texts, Sized) else 0
        device = self.model.device.type

        def flows() -> Iterator[Flow]:
            for window in windows(texts):
                encoded = {}
                for number, text in window:
                    with leaving_out(number, text):
                        encoded[number] = self._encode(text, truncate)
                found: dict[int, Flow] = {}
                lengths = {n: length_of(inputs) for n, (inputs, _) in encoded.items()}
                for group in by_length(lengths, batch_size, device):
                    found |= self._explain_group({n: encoded[n] for n in group}, asked, layers, targets)
                for number, _ in window:
                    if number in found:
                        yield found.pop(number)
                    if progress is not None:
                        progress(number + 1, count)

        return flows()

    def _explain_group(
        self,
        encoded: dict[int, _Encoded],
        settings: Settings,
        layers: Positions | None,
        targets: Positions | None,
    ) -> dict[int, Flow]:
        """Flows by number. If the group fails together its texts are tried one by one."""
        examples = {}
        with exact_mode(self.model.device):
            for number, one in encoded.items():
                with leaving_out(number, one[1].text if one[1] else None):
                    examples[number] = self._prepare(one, settings, layers, targets)
            found: dict[int, Flow] = {}
            for group in alike(examples):
                try:
                    found |= self._together({n: examples[n] for n in group}, settings)
                except (LigflowError, RuntimeError):
                    for number in group:
                        with leaving_out(number, examples[number].tokens.text):
                            found |= self._together({number: examples[number]}, settings)
        return found

    def _together(self, examples: dict[int, Example], settings: Settings) -> dict[int, Flow]:
        (found,) = compute(self.model, list(examples.values()), [settings])
        return {
            number: self._flow(example, results, settings, index=number)
            for (number, example), results in zip(examples.items(), found, strict=True)
        }

    def _prepare(
        self,
        encoded: _Encoded,
        settings: Settings,
        layers: Positions | None,
        targets: Positions | None,
    ) -> Example:
        """One run of the model, and which of its layers and tokens are asked about."""
        inputs, tokens = encoded
        recorded = self._record(inputs)
        chosen = [recorded[i] for i in positions("layer", layers, len(recorded))]
        refuse_uneven(chosen)
        visible = visible_tokens(self.model, inputs, chosen[0].hidden)
        tokens = shown(self._named(tokens, inputs, len(chosen[0].hidden)), visible)
        rows = positions("target", targets, len(tokens.labels))
        validated = [self._validated(layer) for layer in chosen]
        chosen, left_out = splittable(validated, layers is not None, settings.routes)
        place = LayerTokens(visible, visible[torch.tensor(rows, device=visible.device)])
        return Example(tokens, rows, chosen, place, [*self.notes, *left_out])

    def _flow(self, example: Example, results: Results, settings: Settings, **more: Any) -> Flow:
        flow = flow_of(example, results, settings, self.model, self._about() | more)
        if flow.unmet:
            warnings.warn(describe_unmet(flow), CompletenessWarning, stacklevel=3)
        return flow

    def _about(self) -> dict[str, Any]:
        return {"model": self.name, "revision": self.revision, "model_class": type(self.model).__name__}

    def record(self, inputs: str | Mapping[str, Tensor], truncate: bool = False) -> list[Layer]:
        """The model's layers on one example, recorded, validated and ready to be replayed."""
        with exact_mode(self.model.device):
            layers = self._record(self._encode(inputs, truncate)[0])
            return [validate(self.model, layer) for layer in layers]

    def size(self, inputs: str | Mapping[str, Tensor], truncate: bool = False) -> tuple[int, int]:
        """How many layers the model has, and the most heads of those that can be split (0 if none can).

        It takes one run of the model.
        """
        with exact_mode(self.model.device):
            layers = self._record(self._encode(inputs, truncate)[0])
            with borrowed(self.model), torch.no_grad():
                queries = [one.capture(one.hidden[None]).query for one in layers if not one.refusal]
        return len(layers), max((query.shape[1] for query in queries), default=0)

    def _encode(self, inputs: str | Mapping[str, Tensor], truncate: bool) -> _Encoded:
        refuse_other_inputs(inputs)
        limit = position_limit(self.model, self.tokenizer)
        if isinstance(inputs, str):
            encoded, tokens = encode(self.tokenizer, inputs, limit, truncate)
        else:
            encoded, tokens = check_inputs(inputs, limit), None
        # clones, since tensors made in inference mode cannot take part in a backward pass
        return {name: value.to(self.model.device).clone() for name, value in encoded.items()}, tokens

    def _named(self, tokens: Tokens | None, encoded: dict[str, Tensor], count: int) -> Tokens:
        """The text's own tokens, unless the layers have others."""
        if tokens is not None and len(tokens.labels) == count:
            return tokens
        return name_inputs(self.tokenizer, encoded, count)

    def _record(self, encoded: dict[str, Tensor]) -> list[Layer]:
        try:
            return record(self.model, encoded)
        except LigflowError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            given = ", ".join(f"{name}{list(value.shape)}" for name, value in encoded.items())
            kind = type(self.model).__name__
            raise LigflowError(f"{kind} could not run on these inputs ({given}): {error}") from error

    def _usable(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model itself, or a copy where its weights are too short or cannot have gradients."""
        found = {weight.dtype for weight in model.parameters() if weight.is_floating_point()}
        short = sorted(str(dtype).removeprefix("torch.") for dtype in found if torch.finfo(dtype).bits < 32)
        if short:
            self.notes.append(f"weights in {' and '.join(short)}, integrated in a float32 copy")
            return copy.deepcopy(model).float()
        frozen = any(weight.is_inference() for weight in (*model.parameters(), *model.buffers()))
        return copy.deepcopy(model) if frozen else model


def explain(text: str, model: str | None = None, **settings: Any) -> Flow:
    """`Explainer.from_pretrained(model).explain(text, **settings)`, for a first look."""
    return Explainer.from_pretrained(model).explain(text, **settings)


def _refuse_other_models(model: object) -> NoReturn:
    hint = "; pass the model that was compiled: model._orig_mod" if hasattr(model, "_orig_mod") else ""
    raise LigflowError(
        f"Explainer needs a model of transformers (PreTrainedModel), not {type(model).__name__}{hint}."
    )


def _encoder_of(model: PreTrainedModel) -> PreTrainedModel:
    if not getattr(model.config, "is_encoder_decoder", False):
        return model
    encoder = model.get_encoder()
    return encoder if isinstance(encoder, PreTrainedModel) else model


def _check_weights(model: PreTrainedModel) -> None:
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise LigflowError(
                f"The weights of {name!r} hold NaN or infinite values; the checkpoint is damaged."
            )


def _device(device: str | torch.device | None) -> torch.device:
    try:
        place = torch.device(device or "cpu")
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        present = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise LigflowError(f"Device {str(device)!r} is not usable; present: {', '.join(present)}.") from error
    return place
