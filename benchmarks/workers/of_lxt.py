"""AttnLRP by its authors' package: `python benchmarks/workers/of_lxt.py FOLDER WEIGHTS METHOD`.

The efficient implementation as its README shows it: the module of the model's family is patched, one
backward pass, input times gradient. Before any question, the patched model has to keep what the paper says of
its rules: a gated MLP and a norm hand on as much relevance as they get.
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
CLOSE = 1e-3  # of the relevance; float32 keeps 1e-5 on these modules, plain gradients keep less than half
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
    conserves(model)
    return model


def conserves(model: Any) -> None:
    """Stops where the first gated MLP or the first norm loses or adds relevance: `sum x dx = sum y dy`."""
    every = list(model.modules())
    gated = next(each for each in every if hasattr(each, "gate_proj"))
    norm = next(each for each in every if type(each).__name__.endswith("RMSNorm"))
    draw = torch.Generator().manual_seed(0)
    for module, width in ((gated, gated.gate_proj.in_features), (norm, len(norm.weight))):
        inputs = torch.randn(1, 5, width, generator=draw).requires_grad_()
        output = module(inputs)
        weights = torch.randn(output.shape, generator=draw)
        (output * weights).sum().backward()
        assert inputs.grad is not None
        own, whole = (inputs * inputs.grad).sum(), (output * weights).sum()
        if not torch.isclose(own, whole, rtol=CLOSE):
            raise SystemExit(f"{type(module).__name__} gets {float(whole):g} and hands on {float(own):g}.")


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
