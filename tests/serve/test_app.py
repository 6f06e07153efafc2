"""The way from a text to a flow, and what else is asked of the application."""

import json
from typing import Any

import pytest
import safetensors.torch
import torch
from starlette.testclient import TestClient

from ligflow.serve import app as application
from ligflow.serve.jobs import Queue
from ligflow.serve.offered import Offered
from ligflow.view.interactive_page import module, style
from served import ASK, LIMITS, TEXT, assert_refused, header_of, over, post


def test_a_text_becomes_a_flow(client: TestClient, offered: Offered) -> None:
    state = post(client, tol=0.01)
    assert (state["state"], state["place"]) in (("queued", 1), ("running", None))
    assert over(client, state["id"]) | {"bytes": 0} == {
        "id": state["id"], "state": "done", "place": None, "done": 1, "of": 1, "cancelling": False,
        "error": None, "bytes": 0,
    }  # fmt: skip
    answer = client.get(f"/api/jobs/{state['id']}/result")
    flow = offered.explainer.explain(TEXT, layers=[0], tol=0.01)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert header_of(answer.content)["tokens"] == flow.tokens
    assert torch.equal(safetensors.torch.load(answer.content)["z2z"], flow.z2z)


def test_the_settings_are_those_that_were_asked(client: TestClient) -> None:
    wanted = {"att_baseline": "zero", "mlp_baseline": "matched", "layer_baseline": "mean", "tol": 0.02}
    state = over(client, post(client, **wanted, layers=[1], model="embedded:minilm")["id"])
    header = header_of(client.get(f"/api/jobs/{state['id']}/result").content)
    assert header["layers"] == [1]
    assert header["meta"]["settings"].items() >= wanted.items()


def test_markup_in_a_text_is_data(client: TestClient) -> None:
    text = '<script>alert("1")</script>'
    state = over(client, post(client, text=text)["id"])
    answer = client.get(f"/api/jobs/{state['id']}/result")
    assert header_of(answer.content)["meta"]["text"] == text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_models_and_limits_are_told(client: TestClient) -> None:
    told = client.get("/api/models").json()
    (model,) = told["models"]
    assert (model["name"], model["layers"], model["heads"]) == ("embedded:minilm", 6, 12)
    assert model["baselines"]["mlp_baseline"] == ["att_itb_a0", "zero", "matched"]
    assert model["tokens"] == told["limits"]["tokens"] == 24
    assert told["limits"]["queue"] == 3


def test_the_page_takes_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert not [word for word in ("http:", "https:", "innerHTML") if word in answer.text]


@pytest.mark.parametrize(("name", "content"), [("ligflow.js", module()), ("ligflow.css", style())])
def test_the_viewer_is_served(client: TestClient, name: str, content: str) -> None:
    answer = client.get(f"/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/")
    assert answer.text == content


def test_a_large_body_is_refused_whatever_it_claims(client: TestClient) -> None:
    body = json.dumps({"text": "a" * LIMITS.body}).encode()
    assert_refused(client.post("/api/flows", content=body), 413, "65536 bytes")
    assert_refused(client.post("/api/flows", content=body, headers={"content-length": "5"}), 413, "65536")
    assert_refused(client.post("/api/flows", content=body, headers={"content-length": "-5"}), 413, "65536")
    assert_refused(client.post("/api/flows", content=iter([body[:40000], body[40000:]])), 413, "65536")


def test_a_body_that_does_not_arrive_is_given_up(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(*_: Any) -> Any:
        await application.asyncio.sleep(60)
        yield b""

    monkeypatch.setattr(application, "_BODY_SECONDS", 0.05)
    monkeypatch.setattr(application.Request, "stream", silent)
    assert_refused(client.post("/api/flows", json=ASK), 408, "did not arrive")


@pytest.mark.parametrize(
    ("method", "path", "takes"),
    [
        ("POST", "/", "GET"), ("PUT", "/api/flows", "POST"), ("GET", "/api/why", "POST"),
        ("OPTIONS", "/api/likeliest", "POST"), ("PATCH", "/api/jobs/1", "GET"),
        ("DELETE", "/api/jobs/1/result", "GET"),
    ],
)  # fmt: skip
def test_a_wrong_method_is_refused(client: TestClient, method: str, path: str, takes: str) -> None:
    answer = client.request(method, path)
    assert_refused(answer, 405, method, takes)
    assert takes in answer.headers["allow"]


@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/openapi.json", "/api", "/api/jobs", "/x/../../etc/passwd", "/%00", "/%ff"]
)
def test_an_unknown_path_is_refused(client: TestClient, path: str) -> None:
    assert_refused(client.get(path), 404, "/api/why")


@pytest.mark.parametrize("name", ["1", "%3Cb%3E", "%00", "x" * 5000])
def test_an_unknown_job_is_refused(client: TestClient, name: str) -> None:
    assert_refused(client.get(f"/api/jobs/{name}"), 404, "There is no job")
    assert_refused(client.get(f"/api/jobs/{name}/result"), 404, "There is no job")
    assert_refused(client.delete(f"/api/jobs/{name}"), 404, "There is no job")


def test_a_failure_of_the_server_itself_is_answered(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Queue, "state", lambda *_: 1 / 0)
    assert_refused(client.get("/api/jobs/1"), 500, "its log")
