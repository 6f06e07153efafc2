"""GIM by its authors' package: `python benchmarks/workers/of_gim.py FOLDER WEIGHTS METHOD`.

The release reaches three things: `nn.LayerNorm` and `nn.RMSNorm` modules, `F.scaled_dot_product_attention`,
and `softmax` functions called without a `dtype`. On models of transformers as they are loaded this leaves out
two of its three rules: their norms are classes of their own, and a fused attention has no softmax that could
be replaced. `gim` is therefore the release on the same model *prepared*: its norms as `nn.RMSNorm` (equal
within rounding, which is checked), its attention written out in `torch.softmax`.

A fourth rule is missing: where a gated MLP multiplies its gate's and its other branch, each takes half of the
gradient. The authors' repository says that no release up to 0.1.4 has it, and adds it in a later commit
(7e31c65, of which there is no release). `gim` adds the rule at their values; `gim-0.1.4` is without it,
and `gim-as-released` leaves the model as it is, too.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import gim
import torch
import transformers
import worker
from torch import Tensor, nn
from torch.nn import functional
from worker import Rival

from question_file import Question

HALF = 0.5  # of the gradient for each branch of a gated MLP, as in the authors' repository
SOURCE = "Edin et al. 2025, arXiv 2505.17630, https://github.com/corticph/gim"


def relevance(model: Any, question: Question) -> Tensor:
    """`gim.explain` for a next token; for a cosine, its steps under `gim.GIM`."""
    if question.other is None:
        ids = torch.tensor([question.ids])
        return gim.explain(model, ids, target_token_id=question.target, baseline_token_id=question.neutral)
    score = worker.score(model, question)
    start = worker.embeddings(model, [question.neutral] * len(question.ids))
    embedded = worker.embeddings(model, question.ids).requires_grad_()
    with gim.GIM(model):
        score(embedded).sum().backward()
    assert embedded.grad is not None
    return (embedded.grad * (embedded.detach() - start)).sum(-1)[0]


def prepared(model: Any) -> Any:
    """The same function, of modules and functions that the release knows."""
    ids = torch.arange(2, 12)[None]
    with torch.no_grad():
        before = model(input_ids=ids)[0]
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                if type(child).__name__.endswith("RMSNorm") and not isinstance(child, nn.RMSNorm):
                    setattr(parent, name, _plain_norm(child))
        functional.scaled_dot_product_attention = _written_out
        after = model(input_ids=ids)[0]
    if not worker.same(after, before):
        raise SystemExit(f"The prepared model is another: {float((before - after).abs().max()):.1e}")
    return model


def corrected(model: Any) -> Any:
    """The prepared model, of whose gated MLPs each branch hands on half of its gradient."""
    for module in prepared(model).modules():
        for name in ("gate_proj", "up_proj"):
            if isinstance(branch := getattr(module, name, None), nn.Linear):
                branch.register_forward_hook(_halved)
    return model


def _halved(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    """The same numbers, and half of their gradient."""
    if output.requires_grad:
        output.register_hook(lambda gradient: HALF * gradient)
    return output


def _plain_norm(norm: Any) -> nn.RMSNorm:
    """`nn.RMSNorm` of the same gain, which Gemma stores less 1."""
    eps = getattr(norm, "variance_epsilon", None) or norm.eps
    gain = norm.weight.detach()
    plain = nn.RMSNorm(len(gain), eps=eps)
    probe = torch.linspace(-1, 1, len(gain))[None]
    plain.weight = nn.Parameter(gain, requires_grad=False)
    if not torch.allclose(plain(probe), norm(probe), atol=1e-4):
        plain.weight = nn.Parameter(gain + 1, requires_grad=False)
    return plain


def _written_out(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001 - always 0 here
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention with a softmax that can be replaced; torch's own signature."""
    if enable_gqa:
        key, value = (each.repeat_interleave(query.shape[1] // each.shape[1], dim=1) for each in (key, value))
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return torch.softmax(scores, -1) @ value


def rival(prepare: Callable[[Any], Any], what: str) -> Rival:
    settings = (
        f"gim.explain at its defaults, from the question's neutral token, of the target's logit (the package "
        f"takes no other; gim.GIM around the cosine for an encoder); {what}; "
        f"transformers {transformers.__version__}, torch {torch.__version__}"
    )
    return Rival(relevance, settings, SOURCE, prepare)


RIVALS = {
    "gim": rival(
        corrected,
        "the model prepared so that all rules act: norms as nn.RMSNorm, attention by softmax; with the rule "
        "of gated MLPs, which the authors added to their repository after this release",
    ),
    "gim-0.1.4": rival(
        prepared,
        "the model prepared so that all three rules act: norms as nn.RMSNorm, attention by softmax",
    ),
    "gim-as-released": rival(
        lambda model: model,
        "the model as loaded, where the rules of norms (but nn.LayerNorm) and of softmax do not act",
    ),
}

if __name__ == "__main__":
    worker.work(RIVALS, "gim-explain", version("gim-explain"))
