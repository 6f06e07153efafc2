"""An output token as a direction: its row of the unembedding of a causal language model.

The row `w` is taken as it is. The model reads it behind its final norm, `logit = w . norm(z')`. As a
direction on a layer's output, `<w, dz'>` leaves that norm out: its weights, the centring of a LayerNorm, and
how it rescales a token. So it is not the change of a logit, not even at the last layer.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED,
)

from ligflow.errors import LigflowError
from ligflow.inputs.tokens import text_config


def unembedding_row(model: PreTrainedModel, tokenizer: Any, text: str) -> Float[Tensor, " dim"]:
    """The unembedding's row of the one token that `text` is, for `direction`.

    A leading blank counts, as it does for most tokenizers. Raises LigflowError for a model without an
    unembedding or that is not causal, and for a text that is not one known token.
    """
    head: Any = unembedding(model)
    final = torch.zeros_like(head.weight[:1], requires_grad=True)
    logit = head(final)[0, token_id(tokenizer, text)]
    (row,) = torch.autograd.grad(logit, final)  # with what an adapter adds to the head's weight
    return row[0]


def unembedding(model: PreTrainedModel) -> nn.Module:
    """The module that turns final vectors into logits. Raises LigflowError where there is none."""
    config = model.config
    kind = text_config(config).model_type
    if kind in MASKED and not getattr(config, "is_decoder", False):
        raise LigflowError(
            f"A direction towards an output token needs a causal language model, and {type(model).__name__} "
            "is not one."
        )
    head = model.get_output_embeddings()
    if head is None:
        hint = "; load it with unembedding=True, or pass the ForCausalLM model" if kind in CAUSAL else ""
        raise LigflowError(f"{type(model).__name__} has no unembedding{hint}.")
    return head


def token_id(tokenizer: Any, text: str) -> int:
    """The id of the one token that `text` is. Raises LigflowError, naming the pieces, if it is not one."""
    if tokenizer is None:
        raise LigflowError("An output token needs the model's tokenizer, and there is none.")
    ids = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
    pieces = tokenizer.convert_ids_to_tokens(ids)
    if len(ids) != 1:
        named = f": {', '.join(map(repr, pieces))}" if pieces else ""
        raise LigflowError(f"{text!r} is {len(ids)} tokens of this model{named}; give the text of one.")
    if ids[0] == tokenizer.unk_token_id and text != tokenizer.unk_token:
        raise LigflowError(f"{text!r} is not in this model's vocabulary; give a token that is.")
    return int(ids[0])
