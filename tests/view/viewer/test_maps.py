"""The maps of the page, cell by cell those of Python."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from browser import flow_of, still_head
from ligflow import Explainer, Flow
from pages import TOKENS, WORDS, Open, chosen, close, map_of, table


@pytest.fixture(scope="module")
def flow() -> Flow:
    return flow_of(TOKENS, **WORDS)


@pytest.mark.parametrize(
    ("state", "known"),
    [
        ("map=z2z&layer=1&special=0", lambda f: f.z2z[1]),
        ("map=composed&layer=0&special=0", lambda f: f.composed()[0]),
        ("map=conserving&layer=0&special=0", lambda f: f.composed()[0]),
        ("map=composed&rule=product&layer=1&special=0", lambda f: f.composed("product")[1]),
        ("map=product&layer=1&special=0", lambda f: f.composed("product")[1]),
        ("map=difference&layer=0&special=0", lambda f: f.z2z[0] - f.composed()[0]),
        ("map=z2u&layer=1&special=0", lambda f: f.z2u[1].sum(0)),
        ("map=h2&layer=0&special=0", lambda f: f.z2u[0, 2]),
        ("map=u2z&layer=1", lambda f: torch.cat([f.u2z[1], f.u2z_residual[1][None]]).T),
        ("map=z2z&words=1&layer=0&special=0", lambda f: f.merge_words().z2z[0]),
        ("map=composed&words=1&layer=0&special=0", lambda f: f.merge_words().composed()[0]),
        ("map=composed&layer=0", lambda f: f.composed()[0][:, 1:5]),
        ("map=h1&words=1&layer=0", lambda f: f.merge_words().z2u[0, 1][:, 1:4]),
        ("map=z2z&prefix=2&layer=0&special=0", lambda f: f.z2z[0, :, 2:]),
    ],
)
def test_the_exported_table_is_the_tensor(opened: Open, flow: Flow, state: str, known: Any) -> None:
    close(map_of(opened(flow, state=state)), known(flow))


def test_a_head_that_did_not_move_hands_its_weight_to_the_diagonal(opened: Open, flow: Flow) -> None:
    still = still_head(flow)
    close(map_of(opened(still, state="map=composed&layer=1&special=0")), still.composed()[1])


def test_some_targets(opened: Open) -> None:
    some = flow_of(TOKENS, targets=[1, 4])
    shown = opened(some, state="map=composed&layer=0&special=0")
    close(map_of(shown), some.composed()[0])
    assert {row["target"] for row in table(shown)} == {"1", "4"}


def _through_mlp(flow: Flow, layer: int) -> torch.Tensor:
    own = torch.zeros_like(flow.z2z[layer])
    own[torch.arange(len(flow.targets)), flow.targets] = flow.z2z_residual_mlp[layer]
    return flow.z2z_mlp[layer].sum(0) + own


@pytest.mark.parametrize("tokens", [[0, 1, 2], [2]])
def test_a_direct_map_by_its_ways(opened: Open, tokens: list[int]) -> None:
    """What passes through a head, and through the MLP, from a baseline under which targets move as well."""
    explainer = Explainer(build(ARCHITECTURES["llama"]))
    inputs = example(ARCHITECTURES["llama"], 3)
    flow = explainer.explain(inputs, routes="z2z", split=True, targets=tokens, layer_baseline="mean")
    for state, known in {"e1": flow.z2z_heads[1, 1], "through_mlp": _through_mlp(flow, 1)}.items():
        shown = opened(flow, state=f"map={state}&layer=1&special=0")
        close(map_of(shown), known)
        assert chosen(shown, "map") == state
        assert shown.inner_text("main .badge") == "✓ certified, all parts together"
        through = {"e1": "head 1", "through_mlp": "the MLP"}[state]
        assert shown.inner_text("h2").endswith(f"token to token, what passes through {through}")
        assert f"what moved the token through {through};" in shown.get_attribute(".legend", "aria-label")
        assert f" is moved through {through} by " in shown.inner_text(".details")


@pytest.mark.parametrize("route", ["z2u", "u2z", "z2z"])
def test_a_flow_of_one_route(opened: Open, route: str) -> None:
    """A flow with one map has no choice of maps: title, badge and table say which it is."""
    shown = opened(flow_of(TOKENS, routes=(route,)))
    name = {"z2u": "what all heads read", "u2z": "which heads write", "z2z": "token to token"}[route]
    assert shown.inner_text("h2").endswith(f": {name}")
    assert shown.inner_text("main .badge") == "✓ certified: each row adds up to how far its target moved"
    assert {row["map"].split()[0] for row in table(shown)} == {route}
    assert shown.locator('[name="map"]').count() == (route == "z2u")  # that one has a map of each head, too


@pytest.mark.parametrize("kind", ["merged", "hidden"])
def test_flows_that_were_regrouped_in_python(opened: Open, flow: Flow, kind: str) -> None:
    regrouped = flow.merge_words() if kind == "merged" else flow.hide_special()
    close(map_of(opened(regrouped, state="map=composed&layer=1&special=0")), regrouped.composed()[1])


def test_hidden_sources_keep_their_share_of_a_head(opened: Open, flow: Flow) -> None:
    """Where nothing composed is stored: the page, Python and the definition agree."""
    padded = replace(flow, tensors={**flow.tensors, "z2u.hidden": 0.5 * flow.z2u.sum(-1)})
    parts = torch.einsum("hts,ht->ts", flow.z2u[1] / flow.z2u[1].sum(-1, keepdim=True) / 1.5, flow.u2z[1])
    known = parts + torch.diag(flow.u2z_residual[1])
    torch.testing.assert_close(padded.composed()[1], known, rtol=1e-4, atol=1e-5)
    close(map_of(opened(padded, state="map=composed&layer=1&special=0")), padded.composed()[1])


@pytest.mark.parametrize("count", [1, 2])
def test_very_short_texts(opened: Open, count: int) -> None:
    short = flow_of(TOKENS[1 : 1 + count])
    close(map_of(opened(short, state="map=z2z&layer=0&special=0")), short.z2z[0])
