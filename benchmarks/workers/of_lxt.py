"""AttnLRP by its authors' package: `python benchmarks/workers/of_lxt.py FOLDER WEIGHTS METHOD`.

The efficient implementation as its README shows it: the module of the model's family is patched, one
backward pass, input times gradient.
"""

import importlib
import sys
from collections.abc import Callable
from importlib.metadata import version
from types import ModuleType
from typing import Any

import torch
import transformers
import worker
from torch import Tensor
from worker import Rival

from question_file import Question

SOURCE = "Achtibat et al. 2024, https://github.com/rachtibat/LRP-eXplains-Transformers"
Score = Callable[[Any, Question], Callable[[Tensor], Tensor]]


def patched(model: Any) -> Any:
    """The model, its family's module patched. For BERT the package's own copy of the classes is put in."""
    name = type(model).__module__
    module = importlib.import_module(name)
    _without_vision()
    from lxt.efficient import monkey_patch

    monkey_patch(module)
    if name.endswith("modeling_bert"):
        fresh = module.BertModel(model.config, add_pooling_layer=False)
        fresh.load_state_dict(model.state_dict(), strict=False)
        return fresh.eval().requires_grad_(False)
    return model


def _without_vision() -> None:
    """The package imports torchvision's ViT whatever is explained; where there is none, a stand-in."""
    try:
        importlib.import_module("torchvision.models.vision_transformer")
    except (ImportError, RuntimeError):
        names = ["torchvision", "torchvision.models", "torchvision.models.vision_transformer"]
        package, models, vision = (ModuleType(name) for name in names)
        vision.nn = torch.nn  # type: ignore[attr-defined]
        models.vision_transformer = vision  # type: ignore[attr-defined]
        package.models = models  # type: ignore[attr-defined]
        sys.modules |= dict(zip(names, (package, models, vision), strict=True))


def relevance(of: Score) -> Callable[[Any, Question], Tensor]:
    def attributed(model: Any, question: Question) -> Tensor:
        embedded = worker.embeddings(model, question.ids).requires_grad_()
        of(model, question)(embedded).sum().backward()
        assert embedded.grad is not None
        return (embedded * embedded.grad).sum(-1)[0].detach()

    return attributed


def rival(of: Score, of_what: str) -> Rival:
    settings = (
        f"lxt.efficient.monkey_patch at its defaults, input x gradient of {of_what} "
        f"(cosine for an encoder); transformers {transformers.__version__}, torch {torch.__version__}"
    )
    return Rival(relevance(of), settings, SOURCE, patched)


RIVALS = {
    "attnlrp": rival(worker.logit, "the target's logit, as documented"),
    "attnlrp-logprob": rival(worker.score, "the target's log-probability"),
}

if __name__ == "__main__":
    worker.work(RIVALS, "lxt", version("lxt"))
