"""Questions to models that mark an answer in a text: why it begins and ends where it does."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.inputs.pairs import Pair
from ligflow.inputs.tokens import Tokens
from ligflow.inputs.words import Span
from ligflow.prediction.own_run import finite, own_run
from ligflow.prediction.prompt import Prompt, text_prompt, two_texts
from ligflow.prediction.question import Likeliest, Output, Question, Score
from ligflow.prediction.replaced import spanned
from ligflow.prediction.wish import Wish

_LONGEST = 30  # tokens of an answer


def extract_question(whole: PreparedModel, inputs: Inputs, wish: Wish, truncate: bool) -> Question:
    """`log p(first) + log p(last)` of an answer in a text, by default the likeliest one.

    The inputs are `Pair(question, text)`, or a mapping. The answer is a text that occurs in them. Raises
    LigflowError for one that does not.
    """
    if wish.position is not None:
        raise LigflowError("The answer is marked by its first and last token; name its text: answer=...")
    prompt, context = _prompt(whole, inputs, truncate)
    outputs = own_run(whole, prompt.inputs, None).outputs
    finite(whole, outputs.start_logits + outputs.end_logits)
    own = likeliest_span(outputs, context)
    span = own if wish.answer is None else _span_of(prompt.tokens, wish.answer, "answer", context)
    name, score = _text(prompt.tokens, span), _score(span, wish.score)
    if wish.contrast is not None:
        other = _span_of(prompt.tokens, wish.contrast, "contrast", context)
        if other == span:
            raise LigflowError(f"The contrast is the answer itself ({name!r}); give another text.")
        score, name = _contrast(span, other), f"{name} rather than {_text(prompt.tokens, other)}"
    marks = (False,) * len(prompt.tokens.labels)
    return Question(
        prompt.inputs, prompt.tokens, None, score, (name,), marks, marks, None, "question answering",
        _likeliest(prompt.tokens, context), prompt.notes,
    )  # fmt: skip


def _prompt(whole: PreparedModel, inputs: Inputs, truncate: bool) -> tuple[Prompt, list[int]]:
    """The inputs, and the tokens in which an answer may stand: those of the second text."""
    if not isinstance(inputs, Pair):
        prompt = text_prompt(whole, inputs, truncate)
        return prompt, [place for place, mark in enumerate(prompt.tokens.special) if not mark]
    prompt, parts = two_texts(whole, inputs)
    return prompt, [place for place, part in enumerate(parts) if part == 1]


def _span_of(tokens: Tokens, text: object, what: str, context: Sequence[int]) -> Span:
    """The first and the last token of a text that occurs in the input."""
    if not isinstance(text, str):
        raise LigflowError(f"The {what} is {text!r}; give a text that occurs in the input.")
    places = [place for place in spanned(tokens, text) if place in context]
    if not places:
        raise LigflowError(f"The {what} {text!r} occurs in the question alone; give one of the text.")
    return places[0], places[-1]


def _text(tokens: Tokens, span: Span) -> str:
    """What a span of tokens says."""
    if tokens.text is None or tokens.spans is None:
        return " ".join(tokens.labels[span[0] : span[1] + 1])
    return tokens.text[tokens.spans[span[0]][0] : tokens.spans[span[1]][1]].strip()


def _score(span: Span, score: str) -> Score:
    def of(outputs: Any) -> Float[Tensor, "point row"]:
        pair = outputs.start_logits, outputs.end_logits
        start, end = pair if score == "logit" else (logits.log_softmax(-1) for logits in pair)
        both: Tensor = start[:, span[0]] + end[:, span[1]]
        return both[:, None]

    return of


def _contrast(span: Span, other: Span) -> Score:
    here, there = _score(span, "logit"), _score(other, "logit")
    return lambda outputs: here(outputs) - there(outputs)


def likeliest_span(outputs: Any, context: Sequence[int]) -> Span:
    """The likeliest first and last token of an answer of up to thirty tokens."""
    ((span, _), *_) = _ranked(outputs, context, 1)
    return span


def _ranked(outputs: Any, context: Sequence[int], count: int) -> list[tuple[Span, float]]:
    """The likeliest answers with their probabilities `p(first) p(last)`."""
    start, end = (
        each[0].detach().double().softmax(-1) for each in (outputs.start_logits, outputs.end_logits)
    )
    own = torch.tensor(list(context), device=start.device)
    shares = start[own][:, None] * end[own][None]
    reach = own[None] - own[:, None]
    shares = shares.masked_fill((reach < 0) | (reach >= _LONGEST), -1)
    top = torch.topk(shares.flatten(), min(count, shares.numel()))
    ends = [divmod(int(index), len(own)) for index in top.indices]
    return [
        ((int(own[first]), int(own[last])), share)
        for (first, last), share in zip(ends, top.values.tolist(), strict=True)
        if share >= 0
    ]


def _likeliest(tokens: Tokens, context: Sequence[int]) -> Likeliest:
    def of(outputs: Any, count: int, _row: int) -> tuple[Output, ...]:
        named = ((_text(tokens, span), share) for span, share in _ranked(outputs, context, count))
        return tuple(Output(text, share, text) for text, share in named)

    return of
