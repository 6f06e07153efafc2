"""What is explained: models of known shapes, and texts of known lengths."""

import random
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

from ligflow import Explainer

# 46 tokens of MiniLM
SENTENCE = (
    "The old lighthouse keeper counted the ships while the storm grew darker over the bay, and nobody else "
    "in the village saw the last light go out before the cold grey morning came and the small boats returned "
    "to the quiet harbour."
)
_TEXT = """
the of and to in is was he for it with as his on be at by had not are but from or have they which one
you were her all she there would their we him been has when who will more no if out so said what up its
about into than them can only other new some could time these two may then do first any my now such like
"""
WORDS = _TEXT.split()
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
VOCABULARY = len(MARKS) + len(WORDS)


@dataclass(frozen=True)
class Shape:
    """A model class and its config; `matrices` is how many an MLP has (3 where it is gated)."""

    model: str
    config: dict[str, Any] = field(repr=False)
    dim: int
    mlp_dim: int
    matrices: int = 2

    def after_attention(self) -> int:
        """Weights that every target passes at every path point: output projection and MLP."""
        return self.dim**2 + self.mlp()

    def mlp(self) -> int:
        return self.matrices * self.dim * self.mlp_dim


def _bert(dim: int, heads: int, positions: int = 1024) -> Shape:
    sizes = {"hidden_size": dim, "num_attention_heads": heads, "intermediate_size": 4 * dim}
    more = {"max_position_embeddings": positions, "vocab_size": VOCABULARY, "num_hidden_layers": 1}
    return Shape("BertModel", sizes | more, dim, 4 * dim)


def _llama(dim: int, heads: int, groups: int, mlp_dim: int) -> Shape:
    sizes = {"hidden_size": dim, "num_attention_heads": heads, "num_key_value_heads": groups}
    more = {"intermediate_size": mlp_dim, "vocab_size": VOCABULARY, "num_hidden_layers": 1}
    return Shape("LlamaModel", sizes | more, dim, mlp_dim, matrices=3)


def _gpt2(dim: int, heads: int) -> Shape:
    sizes = {"n_embd": dim, "n_head": heads, "n_layer": 1}
    more = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2}
    return Shape("GPT2Model", sizes | more, dim, 4 * dim)


SHAPES = {
    "bert-base": _bert(768, 12),
    "minilm": _bert(384, 12),
    "gpt2": _gpt2(768, 12),
    "llama-like": _llama(768, 12, 4, 2048),
    "llama-1b": _llama(2048, 32, 8, 8192),
    "llama-8b": _llama(4096, 32, 8, 14336),
}
TINY = {
    "bert-base": _bert(16, 2),
    "minilm": _bert(16, 2),
    "gpt2": _gpt2(16, 2),
    "llama-like": _llama(16, 2, 1, 24),
    "llama-1b": _llama(16, 2, 1, 24),
    "llama-8b": _llama(16, 2, 1, 24),
}


def shape(name: str, tiny: bool) -> Shape:
    return (TINY if tiny else SHAPES)[name]


def build(
    shape: Shape, device: torch.device, layers: int = 1, dtype: torch.dtype = torch.float32
) -> Explainer:
    """The model with seeded random weights, made on the device, and a tokenizer of one token a word."""
    torch.manual_seed(0)
    model_class = getattr(transformers, shape.model)
    counted = {name: layers for name in ("num_hidden_layers", "n_layer") if name in shape.config}
    with torch.device(device):
        model = model_class(model_class.config_class(**shape.config | counted)).to(dtype).eval()
    return Explainer(model, word_tokenizer(), name=shape.model)


def decoder(name: str, device: torch.device, layers: int, tiny: bool) -> Explainer:
    """A shape of Llama with a language head."""
    return build(replace(shape(name, tiny), model="LlamaForCausalLM"), device, layers)


def minilm(device: torch.device) -> tuple[Explainer, Shape]:
    """The real MiniLM, and its shape."""
    explainer = Explainer.from_pretrained(device=device)
    return explainer, replace(SHAPES["minilm"], config={})


def tiny_decoder(dtype: torch.dtype) -> Explainer:
    """A decoder with a language head, of a few seeded random weights."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**TINY["llama-like"].config | {"num_hidden_layers": 2})
    model: torch.nn.Module = transformers.LlamaForCausalLM(config)
    return Explainer(model.to(dtype=dtype).eval(), word_tokenizer(), name="tiny")


def inputs(tokens: int, seed: int = 0) -> dict[str, Tensor]:
    """One example of random words."""
    generator = torch.Generator().manual_seed(seed)
    return {"input_ids": torch.randint(len(MARKS), VOCABULARY, (1, tokens), generator=generator)}


def word_tokenizer() -> Any:
    """Each of the WORDS is a token, between [CLS] and [SEP]."""
    known = {word: number for number, word in enumerate([*MARKS, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [(mark, known[mark]) for mark in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


def sentences(count: int, tokens: float = 27.0, seed: int = 0) -> list[str]:
    """Word salads as long as sentences of newswire: gamma lengths with this mean, special tokens included."""
    generator = random.Random(seed)
    lengths = (round(generator.gammavariate(5.2, (tokens - 2) / 5.2)) for _ in range(count))
    return [" ".join(generator.choices(WORDS, k=min(max(length, 3), 120))) for length in lengths]
