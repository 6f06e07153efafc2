"""Whether a model can write the answers of a corpus: asked of its tokenizer, before anything is computed."""

from collections.abc import Iterable, Iterator
from typing import Any

from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.sources.sentence import BadLine
from ligflow.errors import LigflowError
from ligflow.explainer.pretrained import head_kind_named, tokenizer_named
from ligflow.prediction.answers import answer_ids

_WRITING = ("causal", "masked", "seq2seq")
_ANY = 2**31  # how large the vocabulary is says the model, which is not loaded yet


def with_writable_answers(
    items: Iterable[Prompt | BadLine], model: str, trust_remote_code: bool = False
) -> Iterator[Prompt | BadLine]:
    """The items; of prompts whose answer or contrast the tokenizer of a model cannot write a bad line.

    A classifier writes none, and its items are as they were. Raises LigflowError where there is no tokenizer.
    """
    if head_kind_named(model, trust_remote_code) not in _WRITING:
        yield from items
        return
    tokenizer = tokenizer_named(model, trust_remote_code)
    for item in items:
        problem = _problem(tokenizer, item) if isinstance(item, Prompt) else ""
        yield BadLine(item.number, item.place, problem) if problem else item


def _problem(tokenizer: Any, prompt: Prompt) -> str:
    for called, text in (("answer", prompt.answer), ("contrast", prompt.contrast)):
        if text is not None:
            try:
                answer_ids(tokenizer, text, None, (), _ANY, called)
            except LigflowError as error:
                return str(error).removesuffix(".")
    return ""
