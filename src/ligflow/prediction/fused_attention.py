"""Attention by PyTorch's fused kernel, which keeps no scores of all pairs of tokens."""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ligflow.layer.interface import Captured, plain


def fused(captured: Captured) -> Float[Tensor, "batch head target value_dim"]:
    """`u = softmax(scale q.k + bias) v`; as it is defined where there is a soft cap or a sink."""
    form, query = captured.form, captured.query
    if form.softcap is not None or form.sink is not None:
        return plain(captured)
    key, value, heads = captured.key, captured.value, query.shape[1] // captured.key.shape[1]
    shared = heads > 1 and query.is_cpu  # elsewhere heads that share keys have no fused kernel with a bias
    if heads > 1 and not shared:
        key, value = (part.repeat_interleave(heads, 1) for part in (key, value))
    u: Tensor = scaled_dot_product_attention(
        query, key, value, form.bias, scale=form.scaling, enable_gqa=shared
    )
    return u
