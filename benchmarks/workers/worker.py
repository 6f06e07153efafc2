"""What the workers of the rivals share: questions of a folder, the model, and relevances line by line.

A worker runs in the environment of a rival, where ligflow is not: it imports torch and transformers alone.

    PYTHONPATH=benchmarks python benchmarks/workers/of_lxt.py FOLDER WEIGHTS METHOD [COUNT]

Of the questions that are no tuning ones it answers the first COUNT, or all. Relevances go to
`FOLDER/relevances/METHOD.jsonl`, a line a question; names that are there are not done again.
"""

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from call_cost import measured
from question_file import Question, append, read_questions, unanswered

CLOSE = 2e-3  # of the spread of a model's outputs: eager and fused attention in float32 differ by 5e-4
_EVERY = 20.0  # seconds between two lines that say how it goes


@dataclass(frozen=True)
class Rival:
    """A method: relevances of a question's tokens, the settings it runs at, and who says so.

    `prepare` makes of the loaded model what `relevance` takes, once.
    """

    relevance: Callable[[Any, Question], Sequence[float] | Tensor]
    settings: str
    source: str
    prepare: Callable[[Any], Any] = lambda model: model
    attention: str = "sdpa"


def work(rivals: Mapping[str, Rival], package: str, version: str) -> None:
    """The worker as a program: FOLDER WEIGHTS METHOD [COUNT]."""
    if len(sys.argv) not in (4, 5) or sys.argv[3] not in rivals:
        raise SystemExit(f"{sys.argv[0]} FOLDER WEIGHTS METHOD [COUNT]; methods: {', '.join(rivals)}")
    folder, weights, method = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    rival = rivals[method]
    about = {"method": method, "package": package, "version": version}
    about |= {"settings": rival.settings, "source": rival.source}
    target = folder / "relevances" / f"{method}.jsonl"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
    tested = [each for each in read_questions(folder / "questions.jsonl") if not each.tuning]
    count = int(sys.argv[4]) if len(sys.argv) == 5 else len(tested)
    left = list(unanswered(tested[:count], target))
    if not left:
        return
    model = loaded(weights, rival.attention)
    agrees(model, weights)
    model = rival.prepare(model)
    gc.freeze()  # what is loaded stays: collections before measurements are then quick
    for line in _lines(rival, model, left, method):
        append(target, line)


def _lines(rival: Rival, model: Any, left: Sequence[Question], method: str) -> Iterator[dict[str, Any]]:
    """Each question's line; the first is done twice, so that no time holds what is done once."""
    rival.relevance(model, left[0])
    begin = said = time.monotonic()
    for count, question in enumerate(left, 1):
        values, seconds, peak = measured(lambda: rival.relevance(model, question))  # noqa: B023 - called at once
        relevance = torch.as_tensor(values).double().flatten().tolist()
        if len(relevance) != len(question.ids) or not torch.tensor(relevance).isfinite().all():
            raise SystemExit(
                f"{method} on {question.name}: {len(question.ids)} numbers expected: {relevance}"
            )
        yield {"name": question.name, "relevance": relevance, "seconds": seconds, "peak_mb": peak}
        if time.monotonic() - said > _EVERY or count == len(left):
            said = time.monotonic()
            rate = (said - begin) / count
            print(f"{method}: {count} of {len(left)}, {rate:.2f} s each", flush=True)


def reference(question: Question) -> list[int]:
    """The neutral token in place of each, but for those that are kept."""
    return [own if kept else question.neutral for own, kept in zip(question.ids, question.kept, strict=True)]


# --- the model ------------------------------------------------------------------------------------


def loaded(weights: Path, attention: str = "sdpa") -> Any:
    """The model of a folder as `transformers` of this environment makes it, in float32, without dropout."""
    torch.set_num_threads(1)
    config = AutoConfig.from_pretrained(weights)
    kind = AutoModelForCausalLM if "CausalLM" in (config.architectures or [""])[0] else AutoModel
    _with_old_names(config)
    model = kind.from_pretrained(weights, config=config, attn_implementation=attention)
    return model.float().eval().requires_grad_(False)


def _with_old_names(config: Any) -> None:
    """Rotary settings as releases of transformers before 5 name them, which pass over the new names."""
    if int(transformers.__version__.split(".")[0]) >= 5:
        return
    rotary = getattr(config, "rope_parameters", None) or {}
    if "rope_theta" in rotary:
        config.rope_theta = rotary["rope_theta"]
    if "full_attention" in rotary:
        config.rope_theta = rotary["full_attention"]["rope_theta"]
        config.rope_local_base_freq = rotary["sliding_attention"]["rope_theta"]


def agrees(model: Any, weights: Path) -> None:
    """Stops where the model says something else than `outputs.json` beside its weights."""
    file = weights / "outputs.json"
    if not file.exists():
        return
    recorded = json.loads(file.read_text())
    ids = torch.tensor([recorded["ids"]])
    with torch.no_grad():
        out = model(input_ids=ids)
    own = out.logits[0, -1] if hasattr(out, "logits") else out.last_hidden_state[0].mean(0)
    expected = torch.tensor(recorded["values"])
    if not same(own, expected):
        off = float((own - expected).abs().max())
        raise SystemExit(f"The model of {weights} is another in this environment: {off:.1e} off.")


def same(own: Tensor, expected: Tensor) -> bool:
    """Whether outputs are the same but for rounding."""
    return bool((own - expected).abs().max() <= CLOSE * expected.std())


def embeddings(model: Any, ids: Sequence[int]) -> Tensor:
    """What the model's embedding module gives for the tokens, `[1, T, D]`: what `inputs_embeds` takes."""
    return model.get_input_embeddings()(torch.tensor([ids])).detach()


def score(model: Any, question: Question) -> Callable[[Tensor], Tensor]:
    """The question's number as a function of input embeddings `[B, T, D]`, for each of a batch.

    Log-probability of the target, summed over an answer of several tokens, or the cosine of the mean of the
    last hidden states with the other text's.
    """
    if question.other is None:
        return lambda embedded: _said(_logits(model, embedded, question).log_softmax(-1), question)
    with torch.no_grad():
        fixed = pooled(model, embeddings(model, question.other))
    return lambda embedded: torch.cosine_similarity(pooled(model, embedded), fixed, dim=-1)


def logit(model: Any, question: Question) -> Callable[[Tensor], Tensor]:
    """The target's logit in place of its log-probability; an encoder has its cosine."""
    if question.other is not None:
        return score(model, question)
    return lambda embedded: _said(_logits(model, embedded, question), question)


def _logits(model: Any, embedded: Tensor, question: Question) -> Tensor:
    """`[B, answer, vocabulary]`: what is said of each token of the answer."""
    count = len(question.said)
    return model(inputs_embeds=embedded, use_cache=False, logits_to_keep=count).logits[:, -count:]


def _said(of_vocabulary: Tensor, question: Question) -> Tensor:
    return of_vocabulary[:, range(len(question.said)), question.said].sum(-1)


def pooled(model: Any, embedded: Tensor) -> Tensor:
    """The mean of the last hidden states, `[B, D]`."""
    return model(inputs_embeds=embedded).last_hidden_state.mean(1)
