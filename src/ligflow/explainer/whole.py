"""The model as a whole, with its head, beside the part of it that flows are taken of."""

import threading
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from ligflow.explainer.prepared_model import PreparedModel


class Whole:
    """A whole model, prepared on the weights of the part that flows are taken of, when it is asked for.

    Where that part is all of it, it is what is prepared already. `options` are those of `PreparedModel`.
    """

    def __init__(self, part: PreparedModel, model: PreTrainedModel, options: dict[str, Any]) -> None:
        self._part, self._options, self._lock = part, options, threading.Lock()
        self._prepared: PreparedModel | None = None
        if part.runs(model) and not getattr(model.config, "is_encoder_decoder", False):
            self._prepared = part
        else:
            self._model = model  # nothing else holds the parts that flows do without

    def prepared(self) -> PreparedModel:
        """The whole model, prepared."""
        with self._lock, torch.inference_mode(False):
            if self._prepared is None:
                options = self._options | {"offload_folder": self._folder()}
                self._prepared = PreparedModel(self._model, of_part=self._part, **options)
            return self._prepared

    def _folder(self) -> Path | None:
        """Where weights go that the part does not have, beside those of the part."""
        folder = self._options["offload_folder"]
        return None if folder is None else Path(folder) / "whole"
