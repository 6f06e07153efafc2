"""Questions to models that write or fill in text: their own next token, an answer, or one beside another."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.inputs.token_names import token_position
from ligflow.inputs.token_text import token_text, token_texts, tokens_text
from ligflow.inputs.tokens import position_limit
from ligflow.prediction.answers import answer_ids, answer_name, blank_note, check_contrast
from ligflow.prediction.own_run import finite_logits, own_run
from ligflow.prediction.prompt import Prompt, pair_prompt, text_prompt
from ligflow.prediction.question import Likeliest, Output, Question, Score
from ligflow.prediction.scores import tokens_contrast, tokens_score
from ligflow.prediction.wish import Wish

_TRAILING = "the text ends with a blank; most tokenizers have it in front of the next word, so leave it out"


def causal_question(whole: PreparedModel, inputs: Inputs, wish: Wish, truncate: bool) -> Question:
    """A question to a decoder: what it writes behind a text, or behind one of its tokens."""
    prompt = text_prompt(whole, inputs, truncate, closed=False)
    if (prompt.text or "").endswith(" ") and wish.position is None:
        prompt = replace(prompt, notes=(*prompt.notes, _TRAILING))
    return _written(whole, prompt, wish, "causal")


def pair_question(whole: PreparedModel, inputs: Inputs, wish: Wish, truncate: bool) -> Question:
    """A question to an encoder-decoder: what its decoder writes about the text that the encoder reads."""
    return _written(whole, pair_prompt(whole, inputs, truncate), wish, "seq2seq")


def _written(whole: PreparedModel, prompt: Prompt, wish: Wish, kind: str) -> Question:
    last = len(prompt.ids) - 1
    at = last if wish.position is None else token_position(wish.position, prompt.written.labels, "position")
    tokenizer, notes = whole.tokenizer, prompt.notes
    if wish.answer is None:
        ids = [own_token(whole, prompt, at)]
    else:
        ids = ids_behind(whole, prompt, wish.answer, at)
        notes += blank_note(tokenizer, wish.answer, prompt.text if at == last else None, ids)
    if at != last and len(ids) > 1:
        raise LigflowError(
            f"The answer is {len(ids)} tokens, which are written behind the last token; at position {at} ask "
            "about an answer of one token, or cut the text after it."
        )
    name, reads = answer_name(tokenizer, wish.answer, ids), range(len(ids))
    score, tops = tokens_score(ids, wish.score), (0,)
    if wish.contrast is not None:
        others = ids_behind(whole, prompt, wish.contrast, at, "contrast")
        check_contrast(tokenizer, ids, others, taught=True)
        score, tops = tokens_contrast(reads[-1:], ids[-1:], others[-1:]), (len(ids) - 1,)
        name = f"{name} rather than {answer_name(tokenizer, wish.contrast, others).strip()}"
    positions = tuple(at + place for place in reads)
    return asked_behind(whole, prompt, ids, positions, score, (name,), kind, tops, notes)


def asked_behind(
    whole: PreparedModel,
    prompt: Prompt,
    answer: Sequence[int],
    positions: tuple[int, ...],
    score: Score,
    rows: tuple[str, ...],
    kind: str,
    tops: Sequence[int] = (0,),
    notes: tuple[str, ...] = (),
) -> Question:
    """The question with the answer's tokens but the last, the taught ones, behind its prompt.

    `tops` are the places whose likeliest tokens are shown, one for each row.
    """
    taught, names = answer[:-1], token_texts(whole.tokenizer, answer)
    longer = prompt.followed_by(taught, names[:-1], position_limit(whole.model, whole.tokenizer))
    both = len(longer.tokens.labels) + len(longer.decoder_tokens.labels if longer.decoder_tokens else ())
    marks = (*[False] * (both - len(taught)), *[True] * len(taught))
    return Question(
        longer.inputs, longer.tokens, positions, score, rows, marks, (False,) * both, longer.decoder_tokens,
        kind, likeliest_tokens(whole.tokenizer, tops, answer), notes,
    )  # fmt: skip


def own_token(whole: PreparedModel, prompt: Prompt, at: int) -> int:
    """The likeliest token behind one of a prompt's. It takes one run of the model."""
    logits = finite_logits(whole, own_run(whole, prompt.inputs, (at,)).outputs)
    return int(logits[0, 0].argmax())


def ids_behind(
    whole: PreparedModel, prompt: Prompt, answer: object, at: int, called: str = "answer"
) -> list[int]:
    """The ids of an answer, or of what it is `called`, behind a prompt's token."""
    before = prompt.text if at == len(prompt.ids) - 1 else None
    return answer_ids(whole.tokenizer, answer, before, prompt.ids, vocabulary_size(whole), called)


def vocabulary_size(whole: PreparedModel) -> int:
    """How many tokens the vocabulary head knows."""
    head = whole.model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    return len(weight) if isinstance(weight, Tensor) else int(whole.model.config.vocab_size)


def likeliest_tokens(tokenizer: Any, places: Sequence[int], answer: Sequence[int] = ()) -> Likeliest:
    """The likeliest tokens at a place among the positions read, one for each row.

    The token that the answer has at the place is called as it is in the answer.
    """
    names = token_texts(tokenizer, answer)

    def name(number: int, place: int) -> str:
        same = place < len(answer) and answer[place] == number
        return names[place] if same else token_text(tokenizer, number)

    def of(outputs: Any, count: int, row: int) -> tuple[Output, ...]:
        shares = outputs.logits[0, places[row]].detach().double().softmax(-1)
        top = torch.topk(shares, min(count, len(shares)))
        numbers, values = top.indices.tolist(), top.values.tolist()
        return tuple(
            Output(name(number, places[row]), value, number)
            for number, value in zip(numbers, values, strict=True)
        )

    return of


def masked_question(whole: PreparedModel, inputs: Inputs, wish: Wish, truncate: bool) -> Question:
    """A question to a masked language model: what it puts in at a position, or at the text's own masks."""
    prompt, tokenizer = text_prompt(whole, inputs, truncate), whole.tokenizer
    places, notes = _places(prompt, tokenizer, wish.position)
    if wish.answer is None:
        logits = finite_logits(whole, own_run(whole, prompt.inputs, places).outputs)
        ids = [int(number) for number in logits[0].argmax(-1)]
    else:
        ids = _filling(whole, wish.answer, places, "answer")
    name, score = answer_name(tokenizer, wish.answer, ids), tokens_score(ids, wish.score)
    if wish.contrast is not None:
        others = _filling(whole, wish.contrast, places, "contrast")
        check_contrast(tokenizer, ids, others, taught=False)
        score = tokens_contrast(range(len(ids)), ids, others)
        name = f"{name} rather than {answer_name(tokenizer, wish.contrast, others).strip()}"
    count = len(prompt.tokens.labels)
    return Question(
        prompt.inputs, prompt.tokens, tuple(places), score, (name,), (False,) * count,
        tuple(place in places for place in range(count)), None, "masked", likeliest_tokens(tokenizer, (0,)),
        (*prompt.notes, *notes),
    )  # fmt: skip


def _filling(whole: PreparedModel, answer: object, places: Sequence[int], what: str) -> list[int]:
    ids = answer_ids(whole.tokenizer, answer, None, (), vocabulary_size(whole), what)
    if len(ids) != len(places):
        raise LigflowError(
            f"The {what} {answer!r} has {len(ids)} tokens ({tokens_text(whole.tokenizer, ids)}), and "
            f"{len(places)} are to be put in; give the text a mask for each."
        )
    return ids


def _places(prompt: Prompt, tokenizer: Any, position: Any) -> tuple[list[int], tuple[str, ...]]:
    """The positions at which something is put in, and a note where a token stands there already."""
    mask = getattr(tokenizer, "mask_token_id", None)
    masks = [place for place, number in enumerate(prompt.ids) if mask is not None and number == mask]
    if position is None:
        if not masks:
            name = getattr(tokenizer, "mask_token", None) or "its mask token"
            raise LigflowError(
                f"The text has no {name}, at which a masked language model puts something in; write {name} "
                "where the answer belongs, or give its position."
            )
        return masks, ()
    at = token_position(position, prompt.tokens.labels, "position")
    if at in masks:
        return [at], ()
    token = prompt.tokens.labels[at]
    return [at], (
        f"the model reads {token!r} at position {at} itself; a mask there hides the answer from it",
    )
