"""The token that says least, by what a tokenizer has, and why others are not taken."""

import pytest
import torch

from asked_models import bert_masked, gpt2
from ligflow import LigflowError
from ligflow.prediction.embedded import Embedded, embedded
from ligflow.prediction.neutral_token import neutral_token
from ligflow.prediction.targets import question


class Letters:
    """A tokenizer of one token a letter; blanks are 1, full stops 2."""

    mask_token_id = unk_token_id = pad_token_id = eos_token_id = bos_token_id = sep_token_id = None

    def __call__(self, text: str, **_: object) -> dict[str, list[int]]:
        return {"input_ids": [{" ": 1, ".": 2}.get(letter, 3) for letter in text]}

    def convert_ids_to_tokens(self, numbers: list[int]) -> list[str]:
        return ["a .\n"[number] for number in numbers]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return "".join(tokens)


def table(*zero: int) -> Embedded:
    module = torch.nn.Embedding(4, 3)
    torch.nn.init.ones_(module.weight)
    module.weight.data[list(zero)] = 0
    ids = torch.tensor([[0]])
    return Embedded(module, ids, module(ids).detach(), torch.tensor([False]))


def test_a_mask_is_taken_and_where_there_is_none_a_blank() -> None:
    masked, causal = bert_masked(), gpt2()
    at = embedded(masked.model, question(masked, "the [MASK] sat"), torch.zeros(5, dtype=torch.bool))
    said = "the neutral reference is '[MASK]', the mask token"
    assert neutral_token(masked.tokenizer, at) == (masked.tokenizer.mask_token_id, said)
    at = embedded(causal.model, question(causal, "The river is"), torch.zeros(3, dtype=torch.bool))
    number, said = neutral_token(causal.tokenizer, at)
    assert number == causal.tokenizer(" ")["input_ids"][0]
    assert "the unknown token is the token that ends a text too" in said


def test_a_token_whose_embedding_is_zero_is_passed_over_and_named() -> None:
    number, said = neutral_token(Letters(), table(1))
    assert number == 2
    assert said.endswith("a full stop (the embedding of a blank is zero)")


def test_without_a_token_or_a_tokenizer_there_is_none() -> None:
    with pytest.raises(
        LigflowError, match="No token of Letters is neutral: the embedding of a blank is zero"
    ):
        neutral_token(Letters(), table(1, 2, 3))
    with pytest.raises(LigflowError, match="is a token of the tokenizer, and there is none"):
        neutral_token(None, table())
