"""From the attributions of layers to the tensors of a flow."""

import torch

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer
from ligflow.explainer.assembly import assemble
from ligflow.explainer.computation import compute
from ligflow.settings import ask


def test_a_flow_holds_what_was_computed() -> None:
    prepared = Explainer(build(ARCHITECTURES["bert"]), name="tiny").prepared
    settings = ask(routes=("z2u", "u2z", "z2z"))
    explained = prepared.example(
        prepared.encode(example(ARCHITECTURES["bert"], 4)), settings.routes, None, [1, 3]
    )
    ((results,),) = compute([explained], [settings])
    flow = assemble(explained, results, settings, index=7)
    assert (flow.targets, flow.layers, flow.meta["index"], flow.meta["model"]) == ((1, 3), (0, 1), 7, "tiny")
    for number, result in enumerate(results):
        torch.testing.assert_close(flow.z2u[number], result["z2u"].value.transpose(0, 1))
        torch.testing.assert_close(flow.z2z[number], result["z2z"].value[:, 0])
        heads, residual = result["u2z"].value[:, 0, :-1], result["u2z"].value[:, 0, -1]
        torch.testing.assert_close(flow.tensors["u2z"][number], heads.T)
        torch.testing.assert_close(flow.tensors["u2z_residual"][number], residual)
    assert tuple(flow.z2u.shape) == (2, 4, 2, 4)
