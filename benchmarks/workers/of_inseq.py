"""inseq's methods: `python benchmarks/workers/of_inseq.py FOLDER WEIGHTS METHOD [COUNT]`.

Each is called through inseq's own attribution of one step, on the question's token ids, with the question's
reference (the neutral token, kept tokens left) as the baseline and the target's log-probability as what is
explained. It knows decoders alone. Numbers of a token become one as inseq does by default, but for
sequential integrated gradients, whose authors sum over the embedding.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import inseq
import torch
import transformers
import worker
from inseq.data import BatchEmbedding, BatchEncoding, DecoderOnlyBatch
from torch import Tensor
from worker import Rival

from question_file import Question

SOURCE = "Sarti et al. 2023, https://github.com/inseq-team/inseq"
STEPS = 24
_BATCH = 8  # points that go through the model together


class Wrapped(NamedTuple):
    """inseq's model with its method, and the model alone, as the worker takes it."""

    named: Any
    model: Any


def wrapped(method: str) -> Callable[[Any], Wrapped]:
    """What makes inseq's model of a loaded one; of the tokenizer it reads how tokens are written."""

    def prepare(model: Any) -> Wrapped:
        file = Path(model.name_or_path) / "tokenizer.json"
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(file))
        return Wrapped(inseq.load_model(model, method, tokenizer=tokenizer, device="cpu"), model)

    return prepare


def batch(by: Wrapped, question: Question) -> DecoderOnlyBatch:
    """The question and its target, and the reference, as inseq passes them on."""
    ids = torch.tensor([[*question.ids, question.target]])
    start = torch.tensor([[*worker.reference(question), question.target]])
    tokens = [by.named.tokenizer.convert_ids_to_tokens(ids[0].tolist())]
    embedded = BatchEmbedding(*(by.named.embed(each) for each in (ids, start)))
    if not torch.equal(embedded.input_embeds[:, :-1], worker.embeddings(by.model, question.ids)):
        raise SystemExit("inseq embeds the tokens otherwise than the model.")
    return DecoderOnlyBatch(BatchEncoding(ids, torch.ones_like(ids), tokens, start), embedded)


def relevance(
    by: Wrapped, question: Question, options: Mapping[str, Any], explains: bool = True, signed: bool = False
) -> Tensor:
    """One step's attribution; with `signed` the sum over the embedding, else what inseq makes of its numbers.

    A method that explains no score, but how states mix, has `explains` false.
    """
    if question.other is not None or question.answer is not None:
        raise SystemExit("inseq explains one token that comes next.")
    length = len(question.ids)
    output = by.named.attribution_method.attribute(
        batch(by, question),
        by.named.get_attributed_fn("probability" if explains else None),
        attr_pos_start=length, attr_pos_end=length + 1, show_progress=False, pretty_progress=False,
        attribution_args=dict(options), attributed_fn_args={"logprob": True} if explains else {},
    )  # fmt: skip
    [step] = output.sequence_attributions
    values = step.target_attributions.sum(-1) if signed else step.aggregate().target_attributions
    return values[:length, -1]


def rival(method: str, what: str, options: Mapping[str, Any] | None = None, **kinds: bool) -> Rival:
    def attributed(by: Wrapped, question: Question) -> Tensor:
        return relevance(by, question, options or {}, **kinds)

    settings = f"{what}; transformers {transformers.__version__}"
    return Rival(attributed, settings, SOURCE, wrapped(method), attention="eager")


RIVALS = {
    "value-zeroing": rival(
        "value_zeroing",
        "value_zeroing: cosine, all heads, row of the last token, mean of layers; explains no score",
        explains=False,
    ),
    "occlusion": rival(
        "occlusion",
        "occlusion: the size, without sign, of what a token's own replacement by the neutral one changes, of "
        "the target's log-probability",
    ),
    "sequential-ig": rival(
        "sequential_integrated_gradients",
        f"sequential_integrated_gradients, {STEPS} steps, its default Gauss-Legendre, each token from "
        "neutral and the others kept, sum over the embedding, of the target's log-probability",
        {"n_steps": STEPS, "internal_batch_size": _BATCH},
        signed=True,
    ),
}

if __name__ == "__main__":
    worker.work(RIVALS, "inseq", version("inseq"))
