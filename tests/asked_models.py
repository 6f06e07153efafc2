"""Tiny random models with heads, each with a tokenizer of a few words, prepared whole."""

import functools
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

from ligflow.explainer.prepared_model import PreparedModel

SENTENCE = "The capital of France is Paris. The capital of Italy is Rome. The river is long"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "a", "mat", "dog", "ran"]
PAIR_WORDS = ["<pad>", "</s>", "<unk>", "das", "ist", "gut", "this", "is", "good", "house"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@functools.cache
def byte_tokenizer() -> Any:
    """Byte-level, as GPT-2's: words with the blank before them; its unknown token ends texts too."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        show_progress=False,
    )
    made.train_from_iterator([SENTENCE] * 9, trainer)
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token=end, eos_token=end, bos_token=end, pad_token=end,
        chat_template=TEMPLATE,
    )  # fmt: skip


@functools.cache
def word_tokenizer() -> Any:
    """Whole words between [CLS] and [SEP]."""
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.add_special_tokens(WORDS[:5])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", mask_token="[MASK]", cls_token="[CLS]",
        sep_token="[SEP]", pad_token="[PAD]",
    )  # fmt: skip


@functools.cache
def pair_tokenizer() -> Any:
    """Whole words with an end token, as T5's."""
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(PAIR_WORDS)}, "<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    made.add_special_tokens(PAIR_WORDS[:3])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", eos_token="</s>", pad_token="<pad>"
    )


def whole(model: PreTrainedModel, tokenizer: Any = None) -> PreparedModel:
    """The whole model, also where it has an encoder and a decoder."""
    stack = "decoder" if model.config.is_encoder_decoder else None
    return PreparedModel(model, tokenizer, stack=stack)


def stirred(kind: type[PreTrainedModel], config: Any, **more: Any) -> Any:
    """A random model whose weights are large enough for its outputs to differ."""
    torch.manual_seed(0)
    model = kind(config, **more).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@functools.cache
def gpt2() -> PreparedModel:
    size = len(byte_tokenizer())
    config = GPT2Config(
        vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=48, bos_token_id=0, eos_token_id=0
    )
    return whole(stirred(GPT2LMHeadModel, config), byte_tokenizer())


@functools.cache
def llama() -> PreparedModel:
    config = LlamaConfig(
        vocab_size=len(byte_tokenizer()), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=300, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    return whole(stirred(LlamaForCausalLM, config), byte_tokenizer())


BERT: dict[str, Any] = {
    "vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 20,
}  # fmt: skip


@functools.cache
def bert_masked() -> PreparedModel:
    return whole(stirred(BertForMaskedLM, BertConfig(**BERT)), word_tokenizer())


@functools.cache
def bert_base() -> PreparedModel:
    return whole(stirred(BertModel, BertConfig(**BERT)), word_tokenizer())


@functools.cache
def bert_classes(
    labels: tuple[str, ...] = ("bad", "fair", "good"), problem: str | None = None
) -> PreparedModel:
    config = BertConfig(**BERT, id2label=dict(enumerate(labels)), problem_type=problem)
    return whole(stirred(BertForSequenceClassification, config), word_tokenizer())


@functools.cache
def bert_tags() -> PreparedModel:
    config = BertConfig(**BERT, id2label=dict(enumerate(("NOUN", "VERB", "OTHER"))))
    return whole(stirred(BertForTokenClassification, config), word_tokenizer())


@functools.cache
def t5() -> PreparedModel:
    config = T5Config(
        vocab_size=len(PAIR_WORDS), d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return whole(stirred(T5ForConditionalGeneration, config), pair_tokenizer())


@functools.cache
def vit() -> PreparedModel:
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=8,
        patch_size=4, id2label={0: "cat", 1: "dog", 2: "fish"},
    )  # fmt: skip
    return whole(stirred(ViTForImageClassification, config))
