"""Tiny random causal language models with a tokenizer of a few words, as folders."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import GPT2LMHeadModel, LlamaForCausalLM, PreTrainedTokenizerFast

from architectures import ARCHITECTURES

WORDS = ["[UNK]", "the", "cat", "sat", "on", "a", "mat"]
MODELS = {"gpt2": GPT2LMHeadModel, "llama": LlamaForCausalLM}


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word."""
    made = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]")


def saved(name: str, folder: Path, head: bool = True) -> str:
    """A model of 2 layers and 32 dimensions; without its head it is saved as its base model."""
    torch.manual_seed(0)
    kind = MODELS[name]
    model = kind(kind.config_class(**ARCHITECTURES[name].config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    (model if head else model.base_model).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)
