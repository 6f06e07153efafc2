"""A text of as many tokens as the input, which stands for it in the reference run."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from ligflow.errors import LigflowError
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.inputs.labels import printable
from ligflow.inputs.token_text import token_texts
from ligflow.inputs.tokens import encode
from ligflow.prediction.prompt import text_prompt
from ligflow.prediction.question import Question

_SHOWN = 40  # lines of a message


def counterfactual_ids(
    whole: PreparedModel, question: Question, text: Inputs, free: Sequence[int], spanned: bool
) -> list[int]:
    """Ids for all tokens of a question, from a text or chat; the answer's taught tokens as they are.

    The text stands for the whole input, or where spans are chosen (`spanned`) for these alone: for the
    tokens at `free`. Raises LigflowError, with both tokenisations, for one of another number of tokens.
    """
    own: list[int] = question.inputs["input_ids"][0].tolist()
    count = len(own) - sum(question.taught[: len(own)])
    ids = _ids(whole, question, text)
    if len(ids) == count:
        return [*ids, *own[count:]]
    if spanned and isinstance(text, str):
        for there in (text, f" {text}"):
            ids = list(whole.tokenizer(there, add_special_tokens=False, verbose=False)["input_ids"])
            if len(ids) == len(free):
                placed = dict(zip(free, ids, strict=True))
                return [placed.get(place, number) for place, number in enumerate(own)]
        own = [own[place] for place in free]
        ids = list(whole.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        raise LigflowError(_unequal(whole.tokenizer, own, ids, "what it stands for"))
    raise LigflowError(_unequal(whole.tokenizer, own[:count], ids, "the input"))


def _ids(whole: PreparedModel, question: Question, text: Inputs) -> list[int]:
    inputs: Any
    if question.kind == "seq2seq" and isinstance(text, str):
        inputs, _ = encode(whole.tokenizer, text, None)
    else:
        inputs = text_prompt(whole, text, truncate=False, closed=question.kind != "causal").inputs
    numbers: list[int] = inputs["input_ids"][0].tolist()
    return numbers


def _unequal(tokenizer: Any, own: Sequence[int], other: Sequence[int], what: str) -> str:
    """Both tokenisations side by side, from a little before where they first differ."""
    ours, theirs = ([printable(text) for text in token_texts(tokenizer, ids)] for ids in (own, other))
    pairs = [*enumerate(zip_longest(ours, theirs, fillvalue=""))]
    first = next((place for place, (here, there) in pairs if here != there), 0)
    lines = pairs[max(0, first - 2) :]
    width = max(len(here) for here in [*ours, "input"])
    table = [f"{'':>5}  {'input':<{width}}  reference"]
    table += [f"{place:>5}  {here:<{width}}  {there}" for place, (here, there) in lines[:_SHOWN]]
    table += [f"{'':>5}  and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return (
        f"The reference has {len(other)} tokens and {what} {len(own)}; a text stands for another token by "
        "token, so reword one until they are as many:\n" + "\n".join(table)
    )
