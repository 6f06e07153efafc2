"""What a layer's output is made of, as a vector for each source: ALTI and GlobEnc, for one layer.

Both start from the vectors `x_jk = N_j(sum_h alpha_jk^h W_O^h V_k^h + [j = k] z_j)` of the attention block
(see `norm_based_attention`), `x_j` its output:

    ALTI     max(0, ||x_j||_1 - ||x_j - x_jk||_1), as shares of their sum over k
    GlobEnc  || N'_j(x_jk) ||

ALTI asks how much nearer the output is for what a source gave [ferrando2022]. GlobEnc goes on through the
second residual and the norm N' that ends the layer, past the MLP [modarressi2022]; in a layer that no norm of
the stream ends (pre-norm, sandwich norms) it is norm-based attention with residual and norm. Methods that go
through the MLP are in `mlp_decompositions`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.evaluation.leaf_calls import through_norm
from ligflow.evaluation.norm_based_attention import block_vectors
from ligflow.layer.layer import Layer
from ligflow.routes.workspace import Selection


def alti(layer: Layer, tokens: Selection) -> Float[Tensor, "target source"]:
    """How much nearer the block's output is for each source, as shares that sum to 1 [ferrando2022].

    `max(0, ||x_j||_1 - ||x_j - x_jk||_1) / sum_m max(0, ||x_j||_1 - ||x_j - x_jm||_1)`; all 0 where no
    source brings the output nearer. Raises UnsupportedModel where no matrix takes the output of the heads.
    """
    block = block_vectors(layer, tokens)
    far = (block.output[:, None] - block.vectors).norm(p=1, dim=-1)
    near = (block.output.norm(p=1, dim=-1)[:, None] - far).clamp(min=0)
    return near / near.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(near.dtype).tiny)


def globenc(layer: Layer, tokens: Selection) -> Float[Tensor, "target source"]:
    """The size of what each source gives to the output past the MLP, `||N'_j(x_jk)||` [modarressi2022].

    Raises UnsupportedModel where no matrix takes the output of the heads.
    """
    block = block_vectors(layer, tokens)
    vectors = block.vectors if block.last is None else through_norm(block.last, tokens)(block.vectors)
    return vectors.norm(dim=-1)
