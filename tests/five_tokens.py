"""A small BERT's flow over five tokens, and what tests change of it."""

from dataclasses import replace

from ligflow import Flow

TOKENS = ["the", "old", "light", "house", "keeper"]
HOSTILE = ["<script>alert(1)</script>", '"it\'s" & <b>', "👍🏽 שלום", "\x1b[31mred\x07", "a\u202eb\x00"]


def direct_only(flow: Flow) -> Flow:
    """The same flow without the parts, so that the direct map is what is shown first."""
    return replace(flow, tensors={name: one for name, one in flow.tensors.items() if name.startswith("z2z")})


def with_unmet(flow: Flow, route: str, *index: int) -> Flow:
    met = flow.tensors[f"{route}.met"].clone()
    met[index] = False
    return replace(flow, tensors={**flow.tensors, f"{route}.met": met})
