"""What the rows of a flow's maps are made of, in words: what moved a token, or where its attention went."""

from ligflow.results.attention_weights import is_attention
from ligflow.results.flow_data import FlowData


def whole_row(flow: FlowData, token: str = "it", verb: str = "moved") -> str:
    """What shares of a row are shares of: `what moved ‘is’`; of attention weights `the attention of ‘is’`."""
    if is_attention(flow):
        return "its attention" if token == "it" else f"the attention of {token}"
    return f"what {verb} {token}"
