"""A model that the server has loaded: what it can be asked, and how many tokens a text has with it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ligflow.errors import LigflowError
from ligflow.explainer.explainer import Explainer
from ligflow.explainer.head import head_of
from ligflow.inputs.chat import encode_chat
from ligflow.inputs.tokens import position_limit
from ligflow.serve.limits import Limits
from ligflow.serve.request import BASELINES, Message
from ligflow.settings import ROUTES

_LISTED = 8  # classes that a sentence can name
_SAYS = {
    "causal": "continues a text: ask why it says its next word.",
    "masked": "fills in a blank: write {mask} where its answer belongs, and ask why it says that.",
    "seq2seq": "writes about a text: ask why it begins as it does.",
    "sequence classifier": "sorts texts into {classes}: ask why a class.",
    "token classifier": "sorts each word into {classes}: name the word under More.",
    "question answering": "marks the answer to a question in a text: ask why it marks that.",
    "none": "turns texts into vectors and predicts no word: ask what makes two texts similar.",
}
SECOND = {  # what a second text is beside the first
    "none": "The text that it may be similar to",
    "question answering": "The text that holds the answer",
    "sequence classifier": "A second text, if the model reads two",
    "seq2seq": "What it has written so far",
}
NEEDED = ("none", "question answering")  # kinds that answer nothing without a second text


@dataclass(frozen=True, eq=False)
class Offered:
    """A model that the server has loaded. `tokenizer` is a copy: the model's own is in use in the worker.

    `kind` is that of its head, `classes` are those of a classifier.
    """

    name: str
    explainer: Explainer
    tokenizer: Any
    layers: int
    heads: int
    tokens: int
    kind: str = "none"
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, explainer: Explainer, limits: Limits) -> "Offered":
        """Takes one run of the model. Raises LigflowError for a model without a tokenizer."""
        if explainer.tokenizer is None:
            raise LigflowError(
                f"{explainer.name} has no tokenizer, and the server explains text; serve a model of text."
            )
        layers, heads = explainer.prepared.size("ligflow")
        most = position_limit(explainer.model, explainer.tokenizer) or limits.tokens
        counter = copy.deepcopy(explainer.tokenizer)
        head = head_of(explainer.whole.model)
        kind = head.kind if head.kind in _SAYS else "none"
        tokens = min(most, limits.tokens)
        return cls(explainer.name, explainer, counter, layers, heads, tokens, kind, head.labels)

    @property
    def routes(self) -> tuple[str, ...]:
        """Layers that cannot be split into heads are explained whole."""
        return ROUTES if self.heads else ("z2z",)

    @property
    def mask(self) -> str | None:
        """What stands where a masked language model is to fill something in."""
        return getattr(self.tokenizer, "mask_token", None) if self.kind == "masked" else None

    @property
    def chats(self) -> bool:
        """Whether it takes turns of a chat."""
        return self.kind == "causal" and bool(getattr(self.tokenizer, "chat_template", None))

    def says(self) -> str:
        """What it can be asked, in a sentence; why it has no head where that is known."""
        more = f" and {len(self.classes) - _LISTED} more" if len(self.classes) > _LISTED else ""
        classes = ", ".join(self.classes[:_LISTED]) + more
        return f"{self.name} {_SAYS[self.kind].format(mask=self.mask, classes=classes)}"

    def describe(self) -> dict[str, Any]:
        """As /api/models shows it."""
        sizes = {"layers": self.layers, "heads": self.heads, "tokens": self.tokens}
        second = {"second": SECOND.get(self.kind), "needs_second": self.kind in NEEDED}
        answers = {"kind": self.kind, "mask": self.mask, "chats": self.chats, "says": self.says()}
        return {"name": self.name, "routes": self.routes, "baselines": BASELINES} | sizes | answers | second

    def count(self, text: str | Sequence[Message]) -> int:
        """Tokens of a text or chat, special ones included. Raises LigflowError for a chat it cannot take."""
        if isinstance(text, str):
            encoded = self.tokenizer(text, padding=False, truncation=False, verbose=False)
            return len(encoded["input_ids"])
        ids: torch.Tensor = encode_chat(self.tokenizer, [turn.model_dump() for turn in text], None, False)[0][
            "input_ids"
        ]
        return ids.shape[1]
