"""Explainer: a model, ready to be asked how its tokens flow."""

import copy
import functools
import inspect
import operator
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from ligflow import pretrained
from ligflow._version import __version__
from ligflow.attention import weigh
from ligflow.attribution import Attribution
from ligflow.baselines import Baseline
from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.flow import Flow
from ligflow.quadrature import MAX_NODES
from ligflow.recording import record, refuse_uneven, validate
from ligflow.replay import Layer, borrowed, exact_mode
from ligflow.routes import Tokens as LayerTokens
from ligflow.routes import explain_layer
from ligflow.scalarize import Direction, Scalarization
from ligflow.settings import ROUTES, Settings
from ligflow.tokens import Tokens, encode, name_inputs, position_limit

Progress = Callable[[int, int], None]
Positions = int | Iterable[int]
Array = NDArray[Any]


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
        truncate: bool = False,
        progress: Progress | None = None,
    ) -> Flow:
        """How much each source token contributes to each target token, inside every layer.

        `inputs` is a text, or the model's own inputs for one example (with an attention mask, padded
        tokens are left out of the result). `layers` and `targets` are positions, one or several,
        counted from the end if negative; None means all. `progress(done, of)` is called after each
        layer.

        Raises LigflowError for input that cannot be explained, UnsupportedModel for a layer that
        does not offer a route, and warns (CompletenessWarning) when cells miss `tol`.
        """
        settings = Settings(
            _routes(routes), _baseline(att_baseline), _baseline(mlp_baseline), _baseline(layer_baseline),
            scalarization, quadrature, tol, max_nodes,
        )  # fmt: skip
        with exact_mode(self.model.device):
            flow = self._explain(inputs, settings, layers, targets, truncate, progress)
        if flow.unmet:
            warnings.warn(_describe_unmet(flow), CompletenessWarning, stacklevel=2)
        return flow

    def _explain(
        self,
        inputs: str | Mapping[str, Tensor],
        settings: Settings,
        layers: Positions | None,
        targets: Positions | None,
        truncate: bool,
        progress: Progress | None,
    ) -> Flow:
        encoded, tokens = self._encode(inputs, truncate)
        recorded = self._record(encoded)
        chosen = [recorded[i] for i in _positions("layer", layers, len(recorded))]
        refuse_uneven(chosen)
        visible = visible_tokens(self.model, encoded, chosen[0].hidden)
        tokens = _shown(self._named(tokens, encoded, len(chosen[0].hidden)), visible)
        rows = _positions("target", targets, len(tokens.labels))
        validated = [validate(self.model, layer) for layer in chosen]
        chosen, left_out = _splittable(validated, layers is not None, settings.routes)
        place = LayerTokens(visible, visible[torch.tensor(rows, device=visible.device)])
        results = []
        for done, layer in enumerate(chosen):
            results.append(self._explain_layer(layer, settings, place))
            if progress is not None:
                progress(done + 1, len(chosen))
        notes = [*self.notes, *left_out, *_notes(chosen, settings, self.model, results)]
        return self._flow(results, chosen, tokens, rows, settings, notes)

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

    def _encode(
        self, inputs: str | Mapping[str, Tensor], truncate: bool
    ) -> tuple[dict[str, Tensor], Tokens | None]:
        _refuse_other_inputs(inputs)
        limit = position_limit(self.model, self.tokenizer)
        if isinstance(inputs, str):
            encoded, tokens = encode(self.tokenizer, inputs, limit, truncate)
        else:
            encoded, tokens = _check_inputs(inputs, limit), None
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

    def _explain_layer(self, layer: Layer, settings: Settings, place: LayerTokens) -> dict[str, Attribution]:
        with borrowed(self.model, layer.implementation):
            result = explain_layer(layer, settings, place)
        for route, found in result.items():
            if not torch.isfinite(found.value).all() or not torch.isfinite(found.total).all():
                raise LigflowError(
                    f"Layer {layer.index}, {route}: the model gives NaN or infinite values on the path from "
                    "its baseline; choose another baseline, or check the weights."
                )
        return {route: _of_visible(found, route, place) for route, found in result.items()}

    def _flow(
        self,
        results: list[dict[str, Attribution]],
        chosen: list[Layer],
        tokens: Tokens,
        rows: list[int],
        settings: Settings,
        notes: list[str],
    ) -> Flow:
        tensors: dict[str, Tensor] = {}
        for route in settings.routes:
            tensors |= _stack(route, [result[route] for result in results])
        meta = {
            "model": self.name,
            "revision": self.revision,
            "model_class": type(self.model).__name__,
            "text": tokens.text,
            "words": None if tokens.words is None else list(tokens.words),
            "word_labels": list(tokens.word_labels),
            "settings": settings.describe(),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "versions": {
                "ligflow": __version__, "torch": torch.__version__, "transformers": transformers.__version__,
            },
            "notes": notes,
        }  # fmt: skip
        layers = tuple(layer.index for layer in chosen)
        return Flow(list(tokens.labels), layers, tuple(rows), tokens.special, tensors, meta)

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


def _refuse_other_inputs(inputs: object) -> None:
    if not isinstance(inputs, str | Mapping):
        kind = type(inputs).__name__
        raise LigflowError(f"The inputs are {kind}; pass one text, or a mapping of tensors for one example.")


def _check_inputs(inputs: Mapping[str, Tensor], limit: int | None) -> dict[str, Tensor]:
    """Ready-made inputs of one example: tensors, on positions that the model has."""
    given: dict[str, Any] = dict(inputs)
    for name, value in given.items():
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise LigflowError(f"Input {name!r} is {kind}; pass tensors (return_tensors='pt'), or a text.")
    if not inputs:
        raise LigflowError("The inputs are empty; pass the model's own inputs, e.g. {'input_ids': tensor}.")
    if any(name.startswith("decoder_") for name in inputs):
        raise LigflowError("Of an encoder-decoder the encoder is explained: leave out the decoder_ inputs.")
    ids = inputs.get("input_ids")
    if ids is not None and ids.ndim == 2:
        if len(ids) != 1:
            raise LigflowError(f"explain takes one example at a time; these inputs hold {len(ids)}.")
        if ids.shape[1] == 0:
            raise LigflowError("The inputs hold no tokens.")
        if limit is not None and ids.shape[1] > limit:
            raise LigflowError(
                f"The inputs have {ids.shape[1]} tokens, and the model takes {limit}; cut them."
            )
    return dict(inputs)


def visible_tokens(model: PreTrainedModel, inputs: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
    """Positions of a layer's tokens that are not padding. Raises LigflowError if there are none, or if
    that is not known.
    """
    mask = inputs.get("attention_mask")
    if mask is None or mask.ndim != 2 or mask.all():
        return torch.arange(len(hidden), device=hidden.device)
    if mask.shape[1] != len(hidden):
        mask = _mask_of_frames(model, mask, len(hidden))
    if not mask.any():
        raise LigflowError("The attention mask hides every token.")
    return mask[0].nonzero()[:, 0].to(hidden.device)


def _mask_of_frames(model: PreTrainedModel, mask: Tensor, frames: int) -> Tensor:
    """Speech models know which frames their samples make; here they must agree on the number of frames."""
    reduce = getattr(model, "_get_feature_vector_attention_mask", None)
    if reduce is not None:
        if "add_adapter" in inspect.signature(reduce).parameters:
            reduce = functools.partial(reduce, add_adapter=False)  # the layers come before the adapter
        if int(reduce(frames + 1, torch.ones_like(mask)).sum()) == frames:
            return reduce(frames, mask)
    raise LigflowError(
        f"The attention mask has {mask.shape[1]} entries and hides some, and the layers have {frames} "
        "tokens: which of these are padding is not known. Pass inputs without padding."
    )


def _shown(tokens: Tokens, visible: Tensor) -> Tokens:
    if len(visible) == len(tokens.labels):
        return tokens
    keep = visible.tolist()
    return Tokens(tuple(tokens.labels[i] for i in keep), tuple(tokens.special[i] for i in keep))


def _routes(routes: str | Iterable[str]) -> tuple[str, ...]:
    """Once each; a lone name is one route."""
    try:
        return (routes,) if isinstance(routes, str) else tuple(dict.fromkeys(routes))
    except TypeError as error:
        raise LigflowError(f"routes is {routes!r}; give names, of {', '.join(ROUTES)}.") from error


def _baseline(given: Baseline | Array) -> Baseline:
    if not isinstance(given, np.ndarray):
        return given
    try:
        return torch.tensor(np.ascontiguousarray(given))
    except TypeError as error:
        raise LigflowError(f"A baseline array of {given.dtype} cannot be used; pass numbers.") from error


def _positions(what: str, chosen: Positions | None, count: int) -> list[int]:
    """Positions from 0, in order and once each; negative ones count from the end."""
    if chosen is None:
        return list(range(count))
    numbers = _whole_numbers(what, chosen)
    for index in numbers:
        if not -count <= index < count:
            raise LigflowError(f"There is no {what} {index}: there are {count}, numbered 0 to {count - 1}.")
    if not numbers:
        raise LigflowError(f"No {what} was chosen; give at least one, or None for all.")
    return sorted({index % count for index in numbers})


def _whole_numbers(what: str, chosen: Positions) -> list[int]:
    """Plain integers, from those of Python, NumPy or torch."""
    try:
        return [_whole_number(one) for one in (chosen if isinstance(chosen, Iterable) else [chosen])]
    except TypeError as error:
        raise LigflowError(
            f"{what}s is {chosen!r}; give whole numbers, e.g. {what}s=[0, -1], or None for all."
        ) from error


def _whole_number(given: Any) -> int:
    if isinstance(given, bool) or "bool" in str(getattr(given, "dtype", "")):
        raise TypeError("a truth value is not a position")
    return operator.index(given)


def _splittable(layers: list[Layer], asked: bool, routes: tuple[str, ...]) -> tuple[list[Layer], list[str]]:
    """The layers to explain; those not asked for by number are left out, with a note, where they refuse."""
    refused = [layer for layer in layers if layer.refusal] if set(routes) != {"z2z"} else []
    if refused and (asked or len(refused) == len(layers)):
        first = refused[0]
        raise UnsupportedModel(
            f"Layer {first.index} ({type(first.module).__name__}) offers no z2u and u2z: {first.refusal}. "
            "z2z is available: routes=('z2z',)."
        )
    notes = [f"layer {layer.index} left out: {layer.refusal}" for layer in refused]
    return [layer for layer in layers if layer not in refused], notes


def _of_visible(found: Attribution, route: str, place: LayerTokens) -> Attribution:
    """Sources without padding; where they are heads, all of them."""
    value = found.value if route == "u2z" else found.value[..., place.visible]
    return Attribution(**{**vars(found), "value": value})


def _stack(route: str, parts: list[Attribution]) -> dict[str, Tensor]:
    """The layers' attributions as the tensors of a flow, on the CPU."""
    try:
        values = torch.stack([part.value for part in parts])
    except RuntimeError as error:
        raise UnsupportedModel(
            "The chosen layers have different numbers of heads; explain them apart."
        ) from error
    cells = {
        "total": [part.total for part in parts],
        "scale": [part.scale for part in parts],
        "residue": [part.value.sum(-1) - part.total for part in parts],
        "error": [part.error * part.scale for part in parts],
        "origin": [part.origin * part.scale for part in parts],
        "met": [part.met for part in parts],
    }
    stacked = {name: torch.stack(cell).transpose(1, 2) for name, cell in cells.items()}
    nodes = torch.stack([part.nodes for part in parts])
    if route == "z2u":
        maps = {"z2u": values.transpose(1, 2), "z2u.floor": torch.stack([part.floor[0] for part in parts])}
    else:
        stacked = {name: cell[:, 0] for name, cell in stacked.items()}
        maps = {"z2z": values[:, :, 0]} if route == "z2z" else _heads_and_residual(values[:, :, 0])
    named = {f"{route}.{name}": cell for name, cell in stacked.items()}
    tensors = maps | named | {f"{route}.nodes": nodes}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _heads_and_residual(players: Tensor) -> dict[str, Tensor]:
    return {"u2z": players[..., :-1].transpose(1, 2), "u2z_residual": players[..., -1]}


def _notes(
    layers: list[Layer], settings: Settings, model: PreTrainedModel, results: list[dict[str, Attribution]]
) -> list[str]:
    """What a reader of the numbers must know about the settings."""
    notes = []
    for route in settings.routes:
        flips = sum(int(f.sum()) for result in results if (f := result[route].flipped) is not None)
        rows = sum(result[route].total.numel() for result in results)
        if flips:
            notes.append(f"{route}: a self share above 1 turned the signs of {flips} of {rows} rows")
    both = {"z2u", "u2z"} <= set(settings.routes)
    if both and isinstance(settings.scalarization_of("z2u"), Direction):
        notes.append("composed: under a direction a head's sources may cancel, and its shares grow large")
    asked = (settings.att_baseline, settings.layer_baseline)
    if any(isinstance(b, str) and b == "mean" for b in asked) and _is_causal(layers[0], model):
        notes.append(
            "causal model: the sentence mean lets later tokens into the baseline; a corpus mean does not"
        )
    return notes


def _is_causal(layer: Layer, model: PreTrainedModel) -> bool:
    if layer.refusal or len(layer.hidden) == 1:
        return False
    with borrowed(model), torch.no_grad():
        seen = layer.capture(layer.hidden[None])
        return bool(weigh(seen.query, seen.key, seen.form).p.triu(1).max() == 0)


def _describe_unmet(flow: Flow) -> str:
    cells = flow.unmet
    worst = max(cells, key=lambda cell: abs(cell.certificate) + cell.estimated_error)
    head = "" if worst.head is None else f", head {worst.head}"
    return (
        f"{len(cells)} cells miss the tolerance; the worst is {worst.route}, layer {worst.layer}{head}, "
        f"target {worst.target} ({worst.token!r}): certificate {worst.certificate:.1e}, estimated error "
        f"{worst.estimated_error:.1e}. All are in flow.unmet; raise max_nodes, or choose another baseline."
    )
