"""A client of the server: what is asked, waited for and refused."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from starlette.testclient import TestClient

from ligflow import Explainer
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.serve.guard import HEADERS
from ligflow.serve.jobs import Progress, Result
from ligflow.serve.limits import Limits
from ligflow.serve.offered import Offered

HERE = "http://127.0.0.1:8517"
TEXT = "The cat's whiskers"
PATIENCE = 600  # seconds: ends what never comes, and says nothing of speed
LIMITS = Limits(characters=200, tokens=24, queue=3, keep=2, patience=PATIENCE)
ASK = {"text": TEXT, "layers": [0]}
Connect = Callable[..., TestClient]
Open = Callable[[str], Any]


class Held:
    """Work that goes on from one layer to the next when it is told to."""

    def __init__(self, layers: int = 2) -> None:
        self.layers, self.began, self.go = layers, threading.Event(), threading.Semaphore(0)

    def __call__(self, told: Progress) -> Result:
        self.began.set()
        for layer in range(self.layers):
            assert self.go.acquire(timeout=PATIENCE)
            told(layer + 1, self.layers)
        return Result(b"flow")


def offer(whole: PreparedModel, limits: Limits = LIMITS) -> Offered:
    """A tiny model, offered under the name of its class."""
    return Offered.of(Explainer(whole.model, whole.tokenizer, name=type(whole.model).__name__), limits)


def until(call: Callable[[], Any], wanted: Callable[[Any], bool], seconds: float = PATIENCE) -> Any:
    """What `call` gives once it is as wanted."""
    end = time.monotonic() + seconds
    while not wanted(found := call()):
        assert time.monotonic() < end, found
        time.sleep(0.01)
    return found


def over(client: TestClient, name: str) -> dict[str, Any]:
    ends = {"done", "failed", "cancelled"}
    return until(lambda: client.get(f"/api/jobs/{name}").json(), lambda told: told["state"] in ends)


def post(client: TestClient, path: str = "/api/flows", **more: Any) -> dict[str, Any]:
    answer = client.post(path, json=(ASK if path == "/api/flows" else {}) | more)
    assert answer.status_code == 202, answer.text
    return answer.json()


def assert_refused(answer: Any, status: int, *said: str) -> None:
    """A 4xx or 5xx whose JSON says why, with the headers that every answer has."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert all(word in answer.json()["error"] for word in said), answer.text
    assert HEADERS.items() <= {name: answer.headers.get(name) for name in HEADERS}.items()


def header_of(flow: bytes) -> dict[str, Any]:
    size = int.from_bytes(flow[:8], "little")
    return json.loads(json.loads(flow[8 : 8 + size])["__metadata__"]["ligflow"])


def raw(port: int, sent: bytes) -> bytes:
    """What the server answers to these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def call(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side hangs up."""
    connection.settimeout(PATIENCE)
    answer = b""
    while part := connection.recv(65536):
        answer += part
    return answer
