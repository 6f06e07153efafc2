"""All maps of a shard in one safetensors file, and back to a Flow of one sentence."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ligflow.corpus.store import MAPS, Run
from ligflow.corpus.variants import VARIANTS, Variants, pair
from ligflow.errors import LigflowError
from ligflow.flow import Flow

_HEADER = ("tokens", "layers", "targets", "special")


def tensors_of(kept: Mapping[int, Variants]) -> dict[str, Tensor]:
    """Every tensor of every flow, by sentence, baseline and its own name."""
    return {
        _name(number, baseline, name): tensor.contiguous()
        for number, variants in kept.items()
        for (_, baseline), flow in variants.items()
        for name, tensor in flow.tensors.items()
    }


def header_of(kept: Mapping[int, Variants]) -> str:
    """What the flows are beside tensors, as JSON."""
    return json.dumps({str(number): _describe(variants) for number, variants in kept.items()})


def _describe(variants: Variants) -> dict[str, Any]:
    first = variants[VARIANTS[0]]
    shared = {name: list(getattr(first, name)) for name in _HEADER}
    meta = {route + " " + baseline: dict(flow.meta) for (route, baseline), flow in variants.items()}
    return shared | {"meta": meta}


def _name(number: int, baseline: str, name: str) -> str:
    return f"{number}/{baseline}/{name}"


def flow(run: Run, sentence: int, att: str = "itb", mlp: str = "att_itb_a0", direct: str = "itb") -> Flow:
    """The maps of a sentence under an ATT, an MLP and a layer baseline, as the run kept them.

    Raises LigflowError if the run kept no maps, or not of this sentence, or its file is damaged.
    """
    for shard in run.done:
        if sentence in run.table(shard, "sentences")["sentence"].to_pylist():
            return pair(_read(run.place(shard) / MAPS, sentence), att, mlp, direct)
    raise LigflowError(f"No finished shard of this run holds sentence {sentence}.")


def _read(path: Path, sentence: int) -> Variants:
    if not path.is_file():
        raise LigflowError("This run kept no maps; run it with --maps.")
    try:
        with safe_open(path, framework="pt") as file:
            headers = json.loads(file.metadata()["ligflow"])
            found = _variants(file, sentence, headers[str(sentence)]) if str(sentence) in headers else None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise LigflowError(f"{str(path)!r} is damaged: {error}. Compute it again: --redo-damaged.") from error
    if found is None:
        raise LigflowError(f"Sentence {sentence} was left out of this run; its reason is in the report.")
    return found


def _variants(file: Any, sentence: int, header: Mapping[str, Any]) -> Variants:
    tokens, layers, targets, special = (header[name] for name in _HEADER)
    names = list(file.keys())

    def of(route: str, baseline: str) -> Flow:
        start = _name(sentence, baseline, "")
        tensors = {
            own: file.get_tensor(name)
            for name in names
            if name.startswith(start)
            and (own := name.removeprefix(start)).partition(".")[0].startswith(route)
        }
        meta = header["meta"][f"{route} {baseline}"]
        return Flow(tokens, tuple(layers), tuple(targets), tuple(special), tensors, meta)

    return {(route, baseline): of(route, baseline) for route, baseline in VARIANTS}
