"""Features of a dictionary in a prediction: from `h = Σ_f a_f d_f + b + ε`, `(m . d_f) Δa_f` and a rest.

They sum to what the vectors contribute, `m . Δh = Σ_f (m . d_f) Δa_f + m . Δε`. A token's scale, by which
some dictionaries normalise, is inside the activations, and its change times b is a node; what goes past the
features of a transcoder is one too. It is a read-out and changes no other number.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.dictionaries.dictionary import Code, Dictionary
from ligflow.dictionaries.hook_points import HookPoint
from ligflow.errors import LigflowError
from ligflow.prediction.at_hook_point import HookPoints
from ligflow.prediction.read_out import ReadOut
from ligflow.results.features import NODES, Features

_TOKENS = 64  # that are taken apart at once


def features_of(points: HookPoints, dictionary: Dictionary, tokens: Sequence[str]) -> Features:
    """The relevance of the features of a dictionary, closed: with the rest they sum to `m . Δh`.

    Raises LigflowError for a dictionary of another width, or for another place than the model has.
    """
    own = points.read_out(dictionary.hook)
    _check_width(dictionary, dictionary.hook, own.real.shape[1], dictionary.decoder.shape[1])
    real, reference = own.real, own.reference
    if dictionary.transcodes:
        real, reference = points.vectors(dictionary.source)
    _check_width(dictionary, dictionary.source, real.shape[1], dictionary.encoder.shape[1])
    parts = [
        _of_tokens(own, real, reference, dictionary, slice(begin, begin + _TOKENS))
        for begin in range(0, len(own.real), _TOKENS)
    ]
    numbers: dict[str, Any] = {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}
    numbers["positions"] += own.first
    for name in NODES:
        numbers[name] = _on_all_tokens(numbers[name], own.first, len(tokens))
    known = ((number, dictionary.names.get(number)) for number in numbers["features"].unique().tolist())
    names = {number: (said.name, said.url) for number, said in known if said is not None}
    about = dictionary.name, dictionary.hook.name, dictionary.count, list(tokens)
    return Features(*about, names=names, **numbers)


def _of_tokens(
    own: ReadOut, real: Tensor, reference: Tensor, dictionary: Dictionary, place: slice
) -> dict[str, Tensor]:
    """Entries and nodes of some tokens, by the names that `Features` has for them."""
    codes = [dictionary.encode(vectors[place]) for vectors in (real, reference)]
    m = own.cotangent[place].double()
    bias = dictionary.decoder_bias.to(m)
    active = (codes[0].activations != 0) | (codes[1].activations != 0)
    columns = active.any(0).nonzero()[:, 0]  # most features of a large dictionary are not active at all
    directions = dictionary.decoder[columns.to(dictionary.decoder.device)].to(m)
    activations = [code.activations[:, columns].double() for code in codes]
    relevance = (activations[0] - activations[1]) * (m @ directions.T)
    rows, numbers = active[:, columns].nonzero(as_tuple=True)
    epsilon = [
        vectors[place].double() - a @ directions - code.scale.double() * bias - _beside(code)
        for vectors, a, code in zip((own.real, own.reference), activations, codes, strict=True)
    ]
    scale, shift = (getattr(codes[0], n).double() - getattr(codes[1], n).double() for n in ("scale", "shift"))
    return {
        "positions": rows + place.start,
        "features": columns[numbers],
        "relevance": relevance[rows, numbers],
        "activations": activations[0][rows, numbers],
        "reference_activations": activations[1][rows, numbers],
        "bias": scale[:, 0] * (m @ bias) + shift[:, 0] * m.sum(-1),
        "skip": (m * (_skip(codes[0]) - _skip(codes[1]))).sum(-1),
        "others": m.new_zeros(len(m)),
        "rest": (m * (epsilon[0] - epsilon[1])).sum(-1),
    }


def _beside(code: Code) -> Tensor:
    """What a dictionary gives besides features and bias."""
    return code.shift.double() + _skip(code)


def _skip(code: Code) -> Tensor:
    """What goes past the features; 0 where there is nothing."""
    return code.scale.new_zeros(1).double() if code.skip is None else code.skip.double()


def _on_all_tokens(values: Float[Tensor, " own"], first: int, count: int) -> Float[Tensor, " token"]:
    whole = values.new_zeros(count)
    whole[first : first + len(values)] = values
    return whole


def _check_width(dictionary: Dictionary, place: HookPoint, width: int, own: int) -> None:
    """Raises LigflowError for a dictionary of vectors of another width."""
    if width != own:
        said = f", which is of {dictionary.model}" if dictionary.model else ""
        raise LigflowError(
            f"The dictionary {dictionary.name!r}{said}, has vectors of {own} numbers, and those at "
            f"{place.name} have {width}: it is for another model, or another hook point (hook=)."
        )
