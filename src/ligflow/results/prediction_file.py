"""Predictions on disk: one safetensors file with JSON metadata. Data, never code."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.files import atomically
from ligflow.method.attention_parts import PARTS
from ligflow.results import feature_file
from ligflow.results.flow_header import PREDICTION, other_kind, wrong_field
from ligflow.results.prediction_data import AnyPrediction, PredictionData, SegmentCertificate
from ligflow.results.prediction_header import PredictionHeader

FORMAT = 1
WHOLE = {"by_depth": ("cut", "token"), "late": ("cut", "token"), "error": ("token",)}
BY_LAYER = {
    "heads": ("head", "token"),
    "cross_heads": ("head", "token"),
    "mlps": ("token",),
    "residual": ("token",),
    "routing": ("token",),
    "stored_edges": ("head", "token", "token"),
    "parts": ("part", "head", "token", "token"),
    "stored_neurons": ("token", "unit"),
    "stored_activations": ("run", "token", "unit"),
}


def save(prediction: PredictionData, path: str | Path) -> Path:
    """Writes the prediction under a temporary name in the same folder, then renames it."""
    header = {PREDICTION: json.dumps(labels_of(prediction), ensure_ascii=False)}
    return atomically(path, lambda scratch: save_file(tensors_of(prediction), scratch, header))


def tensors_of(prediction: PredictionData) -> dict[str, Tensor]:
    """All numbers by name; those of a layer as `heads.3`."""
    tensors = {name: getattr(prediction, name) for name in WHOLE}
    for name in BY_LAYER:
        tensors |= {f"{name}.{layer}": part for layer, part in getattr(prediction, name).items()}
    tensors |= feature_file.tensors_of(prediction.stored_features)
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}


def labels_of(prediction: PredictionData) -> dict[str, Any]:
    """What a prediction's file says beside its tensors, for JSON."""
    return {
        "format": FORMAT,
        "tokens": list(prediction.tokens),
        "special": list(prediction.special),
        "kept": list(prediction.kept),
        "value": prediction.value,
        "reference_value": prediction.reference_value,
        "cuts": list(prediction.cuts),
        "certificates": [asdict(segment) for segment in prediction.certificates],
        "top": list(prediction.top),
        "reference_top": list(prediction.reference_top),
        "layer_names": list(prediction.layer_names),
        "streams": list(prediction.streams),
        "stored_features": feature_file.labels_of(prediction.stored_features),
        "meta": dict(prediction.meta),
    }


def load(path: str | Path, kind: type[AnyPrediction]) -> AnyPrediction:
    """Reads a prediction of class `kind` and checks that its parts fit together.

    Raises LigflowError if the file is missing, truncated, foreign, a flow, or from a newer format; it names
    the field or tensor that is wrong.
    """
    labels, tensors = contents(Path(path), PREDICTION)
    return prediction_of(labels, tensors, kind, Path(path))


def contents(path: Path, name: str) -> tuple[Any, dict[str, Tensor]]:
    """Labels and tensors of a file whose header has a name: `PREDICTION`, `ANSWER` or `SIMILARITY`.

    Raises LigflowError where it is missing, truncated, foreign, of another kind, or of a newer format.
    """
    metadata, tensors = _parts(path)
    if other := other_kind(metadata, name):
        raise LigflowError(f"{str(path)!r} {other}.")
    return _parsed(metadata.get(name, ""), path), tensors


def _parts(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors of a file. Raises LigflowError where it is missing, truncated or foreign."""
    if not path.is_file():
        raise LigflowError(f"There is no file of a prediction {str(path)!r}.")
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise LigflowError(
            f"{str(path)!r} is not a readable prediction (truncated or foreign): {error}"
        ) from error


def _parsed(header: str, path: Path) -> Any:
    """What a header says. Raises LigflowError for one that is none, or of a newer format."""
    try:
        labels = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise LigflowError(f"{str(path)!r} is a safetensors file, but holds no prediction.") from error
    version = labels.get("format") if isinstance(labels, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise LigflowError(
            f"{str(path)!r} has prediction format {version}, and this version reads up to {FORMAT}; "
            "upgrade ligflow."
        )
    return labels


def holds_prediction(path: str | Path) -> bool:
    """Whether a file says that it holds a prediction; not whether it is a good one."""
    try:
        with safe_open(path, framework="pt") as file:
            return PREDICTION in (file.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return False


def prediction_of(
    labels: Any, tensors: Mapping[str, Tensor], kind: type[AnyPrediction], path: Path
) -> AnyPrediction:
    """A prediction of what a file says. Raises LigflowError with the field or tensor that is wrong."""
    if wrong := wrong_field(PredictionHeader, labels):
        raise LigflowError(f"{str(path)!r} is damaged: {wrong}.")
    _check_tensors(labels, tensors, path)
    return _prediction(labels, tensors, kind)


def _check_tensors(labels: dict[str, Any], tensors: Mapping[str, Tensor], path: Path) -> None:
    """All numbers are there, finite, and in the sizes of the labels."""
    if lost := sorted({*WHOLE} - {*tensors}):
        raise LigflowError(f"{str(path)!r} is damaged: it holds no {', '.join(lost)}.")
    sizes = {"cut": len(labels["cuts"]), "token": len(labels["tokens"]), "part": len(PARTS), "run": 2}
    if wrong := feature_file.wrong_tensor(labels.get("stored_features", ()), tensors, len(labels["tokens"])):
        raise LigflowError(f"{str(path)!r} is damaged: {wrong}.")
    for name, tensor in tensors.items():
        if name.startswith(feature_file.PREFIX):
            continue
        dims = _dims(name)
        if dims is None:
            raise LigflowError(f"{str(path)!r} is damaged: tensor {name!r} is none of a prediction's.")
        shape = tuple(sizes.get(dim, "heads") for dim in dims)
        fits = len(tensor.shape) == len(shape) and all(
            size in (length, "heads") for length, size in zip(tensor.shape, shape, strict=True)
        )
        if not fits or not tensor.numel():
            shown = ", ".join(map(str, shape))
            raise LigflowError(f"{str(path)!r} is damaged: tensor {name!r} should have shape ({shown}).")
        if tensor.dtype not in (torch.float32, torch.float64):
            raise LigflowError(f"{str(path)!r} is damaged: tensor {name!r} should be float32 or float64.")
        if not torch.isfinite(tensor).all():
            raise LigflowError(f"{str(path)!r} is damaged: tensor {name!r} holds NaN or infinite entries.")
    _check_layers(labels, tensors, path)


def _check_layers(labels: dict[str, Any], tensors: Mapping[str, Tensor], path: Path) -> None:
    """What belongs to a layer belongs to one that there is, and edges to its heads."""
    for name, tensor in tensors.items():
        part, dot, layer = name.partition(".")
        if not dot or name.startswith(feature_file.PREFIX):
            continue
        if int(layer) >= len(labels["layer_names"]) or f"layer {int(layer)}" not in labels["cuts"]:
            raise LigflowError(
                f"{str(path)!r} is damaged: tensor {name!r} is of a layer that it does not name."
            )
        if part in ("stored_edges", "parts"):
            own = len(tensor) if part == "stored_edges" else tensor.shape[1]
            heads = [tensors.get(f"{kind}.{layer}", ()) for kind in ("heads", "cross_heads")]
            if own not in (len(heads[0]), sum(map(len, heads))):
                raise LigflowError(
                    f"{str(path)!r} is damaged: tensor {name!r} is of other heads than its layer."
                )
        if part in ("stored_neurons", "stored_activations"):
            _check_units(labels, tensors, layer, path)


def _check_units(labels: dict[str, Any], tensors: Mapping[str, Tensor], layer: str, path: Path) -> None:
    """Hidden units have their activations, their MLP and their names."""
    pair = [tensors.get(f"{name}.{layer}") for name in ("stored_neurons", "stored_activations")]
    named = sum(size for _, size in labels["meta"].get("units", {}).get(layer, ()))
    if f"mlps.{layer}" not in tensors or any(each is None or each.shape[-1] != named for each in pair):
        raise LigflowError(
            f"{str(path)!r} is damaged: the hidden units of layer {layer} lack activations, names or an MLP."
        )


def _dims(name: str) -> tuple[str, ...] | None:
    part, dot, layer = name.partition(".")
    if not dot:
        return WHOLE.get(name)
    numbered = layer.isdecimal() and layer.isascii() and len(layer) < 9 and layer == str(int(layer))
    return BY_LAYER.get(part) if numbered else None


def _prediction(
    labels: dict[str, Any], tensors: Mapping[str, Tensor], kind: type[AnyPrediction]
) -> AnyPrediction:
    numbers: dict[str, Any] = {name: tensors[name] for name in WHOLE}
    for name in BY_LAYER:
        numbers[name] = {layer: tensors[f"{name}.{layer}"] for layer in _layers(name, tensors)}
    features = feature_file.features_of(labels.get("stored_features", ()), tensors, labels["tokens"])
    return kind(
        tokens=labels["tokens"],
        special=tuple(labels["special"]),
        kept=tuple(labels["kept"]),
        value=float(labels["value"]),
        reference_value=float(labels["reference_value"]),
        cuts=labels["cuts"],
        **numbers,
        stored_features=features,
        certificates=tuple(_certificate(segment) for segment in labels["certificates"]),
        top=tuple((text, float(share)) for text, share in labels["top"]),
        reference_top=tuple((text, float(share)) for text, share in labels["reference_top"]),
        layer_names=tuple(labels["layer_names"]),
        streams=tuple((name, begin, end) for name, begin, end in labels["streams"]),
        meta=labels["meta"],
    )


def _layers(name: str, tensors: Mapping[str, Tensor]) -> list[int]:
    return sorted(int(key.partition(".")[2]) for key in tensors if key.startswith(f"{name}."))


def _certificate(data: Mapping[str, Any]) -> SegmentCertificate:
    """One of the file's; fields of later versions are left out."""
    return SegmentCertificate(
        data["name"], data["layer"], data["residue"], data["error"], data["allowance"], data["points"],
        data["met"], data.get("note", ""),
    )  # fmt: skip
