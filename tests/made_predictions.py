"""Runs on prompts whose tables are made by hand: what each head contributes is chosen."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ligflow.corpus.runs.plan import begin, write_items
from ligflow.corpus.runs.store import Results, Run
from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.tables.kinds import KINDS
from ligflow.corpus.tables.prediction_schema import COMPONENTS, PROMPTS, TOKENS
from ligflow.corpus.tables.prompt_settings import PromptSettings

LAYERS, HEADS, LENGTH = 2, 3, 2
Values = Callable[
    [int], tuple[np.ndarray, np.ndarray]
]  # of a prompt: heads [layer, head, token], MLPs [layer, token]


def run_of(
    folder: Path,
    values: Values,
    count: int,
    groups: Sequence[str | None] = (),
    shard_size: int = 7,
    left_out: Sequence[int] = (),
) -> Run:
    """A run of `count` prompts of two tokens, whose change is 1 and whose scale is 2."""
    prompts = [
        Prompt(n, f"Prompt {n}.", f"made:{n + 1}", group=groups[n] if groups else None) for n in range(count)
    ]
    written = write_items(folder, prompts, shard_size, KINDS["predictions"])
    about = {
        "fingerprint": written.fingerprint,
        "source": "made",
        "bad_lines": 0,
        "left_out_lines": [],
        "file": None,
    }
    model = {
        "name": "made <by> hand",
        "layers": LAYERS,
        "dtype": "float32",
        "weights": "as loaded",
        "revision": None,
    }
    made = begin(folder, {
        "kind": "predictions", "model": model | {"fingerprint": "0" * 64}, "corpus": about, "ligflow": "0",
        "settings": PromptSettings().describe(), "versions": {"torch": "0"}, "shard_size": shard_size,
        "sentences": count, "shards": written.shards,
    })  # fmt: skip
    for shard in range(written.shards):
        own = prompts[shard * shard_size : (shard + 1) * shard_size]
        explained = [prompt for prompt in own if prompt.number not in left_out]
        made.write(shard, Results({
            "prompts": pa.Table.from_pylist([_row(p, p.number in left_out) for p in own], schema=PROMPTS),
            "tokens": pa.Table.from_pylist([row for p in explained for row in _tokens(p)], schema=TOKENS),
            "components": pa.Table.from_pylist(
                [row for p in explained for row in _components(p.number, *values(p.number))],
                schema=COMPONENTS,
            ),
        }))  # fmt: skip
    return made


def _row(prompt: Prompt, left_out: bool) -> dict[str, object]:
    known = dict.fromkeys(PROMPTS.names) | {
        "prompt": prompt.number,
        "place": prompt.place,
        "group": prompt.group,
    }
    if left_out:
        return known | {"left_out": "too long"}
    scores = {"score": -1.0, "reference_score": -2.0, "change": 1.0, "scale": 2.0, "certificate": 1e-4}
    return (
        known | scores | {"tokens": LENGTH, "question": "<b>so</b>", "unmet": 0, "completeness_error": 2e-4}
    )


def _tokens(prompt: Prompt) -> list[dict[str, object]]:
    return [
        {"prompt": prompt.number, "position": at, "token": token, "stream": "tokens", "kept": False,
         "relevance": 0.5, "error": 0.0}
        for at, token in enumerate(["Prompt", f"<i>{prompt.number}"])
    ]  # fmt: skip


def _components(number: int, heads: np.ndarray, mlps: np.ndarray) -> list[dict[str, object]]:
    of_heads = [("head", layer, head, at) for layer, head, at in np.ndindex(heads.shape)]
    of_mlps = [("mlp", layer, None, at) for layer, at in np.ndindex(mlps.shape)]
    values = [*heads.ravel().tolist(), *mlps.ravel().tolist()]
    return [
        {"prompt": number, "kind": kind, "layer": layer, "head": head, "position": at, "relevance": value}
        for (kind, layer, head, at), value in zip([*of_heads, *of_mlps], values, strict=True)
    ]
