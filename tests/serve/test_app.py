"""The web server: the way from a text to a flow, the queue, refusals, and many clients at once."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import uvicorn
from starlette.testclient import TestClient

from browser import chromium
from ligflow import Explainer
from ligflow.cli import serve
from ligflow.errors import LigflowError
from ligflow.serve import app as application
from ligflow.serve import protocol
from ligflow.serve.app import create_app
from ligflow.serve.guard import HEADERS, hosts_of
from ligflow.serve.jobs import Full, Progress, Queue, Unfinished, Unknown
from ligflow.serve.request import Limits, Offered
from ligflow.view.interactive_page import module, style

HERE = "http://127.0.0.1:8517"
TEXT = "The cat's whiskers"
LIMITS = Limits(characters=200, tokens=24, queue=3, keep=2)
ASK = {"text": TEXT, "layers": [0]}
Connect = Callable[..., TestClient]
COMMAND = "import typer; from ligflow.cli.serve import serve; typer.run(serve)"


@pytest.fixture(scope="module")
def offered() -> Offered:
    return Offered.of(Explainer.from_pretrained(), LIMITS)


@pytest.fixture
def connect(offered: Offered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """A client of an application over a queue of its own; the current folder must stay empty."""
    monkeypatch.chdir(tmp_path)
    queues: list[Queue] = []

    def call(host: str = "127.0.0.1", base: str = HERE, limits: Limits = LIMITS) -> TestClient:
        queues.append(Queue(limits.queue, limits.keep).__enter__())
        app = create_app([offered], queues[-1], limits, hosts_of(host))
        return TestClient(app, base_url=base, raise_server_exceptions=False)

    yield call
    for queue in queues:
        queue.__exit__()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def client(connect: Connect) -> TestClient:
    return connect()


class Held:
    """Work that goes on from one layer to the next when it is told to."""

    def __init__(self, layers: int = 2) -> None:
        self.layers, self.began, self.go = layers, threading.Event(), threading.Semaphore(0)

    def __call__(self, told: Progress) -> bytes:
        self.began.set()
        for layer in range(self.layers):
            assert self.go.acquire(timeout=20)
            told(layer + 1, self.layers)
        return b"flow"


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Held]]:
    """Every request's computation is held; in the order of the requests."""
    works: list[Held] = []

    def work(*_: Any) -> Held:
        works.append(Held())
        return works[-1]

    monkeypatch.setattr(application, "_work", work)
    yield works
    for one in works:
        one.go.release(one.layers)


def until(call: Callable[[], Any], wanted: Callable[[Any], bool], seconds: float = 30) -> Any:
    """What `call` gives once it is as wanted."""
    end = time.monotonic() + seconds
    while not wanted(found := call()):
        assert time.monotonic() < end, found
        time.sleep(0.01)
    return found


def over(client: TestClient, name: str) -> dict[str, Any]:
    ends = {"done", "failed", "cancelled"}
    return until(lambda: client.get(f"/api/jobs/{name}").json(), lambda told: told["state"] in ends)


def post(client: TestClient, **more: Any) -> dict[str, Any]:
    answer = client.post("/api/jobs", json=ASK | more)
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


# --- the whole way --------------------------------------------------------------------------------


def test_a_text_becomes_a_flow(client: TestClient, offered: Offered) -> None:
    state = post(client, tol=0.01)
    assert (state["state"], state["place"]) in (("queued", 1), ("running", None))
    assert over(client, state["id"]) | {"bytes": 0} == {
        "id": state["id"], "state": "done", "place": None, "done": 1, "of": 1, "cancelling": False,
        "error": None, "bytes": 0,
    }  # fmt: skip
    answer = client.get(f"/api/jobs/{state['id']}/flow")
    flow = offered.explainer.explain(TEXT, layers=[0], tol=0.01)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert header_of(answer.content)["tokens"] == flow.tokens
    assert torch.equal(safetensors.torch.load(answer.content)["z2z"], flow.z2z)


def test_the_settings_are_those_that_were_asked(client: TestClient) -> None:
    wanted = {"att_baseline": "zero", "mlp_baseline": "matched", "layer_baseline": "mean", "tol": 0.02}
    state = over(client, post(client, **wanted, layers=[1], model="embedded:minilm")["id"])
    header = header_of(client.get(f"/api/jobs/{state['id']}/flow").content)
    assert header["layers"] == [1]
    assert header["meta"]["settings"].items() >= wanted.items()


def test_markup_in_a_text_is_data(client: TestClient) -> None:
    text = '<script>alert("1")</script>'
    state = over(client, post(client, text=text)["id"])
    answer = client.get(f"/api/jobs/{state['id']}/flow")
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


# --- the queue ------------------------------------------------------------------------------------


def test_jobs_are_computed_one_at_a_time_in_order(client: TestClient, held: list[Held]) -> None:
    first = post(client)["id"]
    assert held[0].began.wait(10)
    second, third = post(client), post(client)
    assert [second["place"], third["place"]] == [1, 2]
    held[0].go.release()
    until(lambda: client.get(f"/api/jobs/{first}").json(), lambda told: told["done"] == 1)
    assert not held[1].began.is_set()
    held[0].go.release()
    assert over(client, first)["state"] == "done"
    assert held[1].began.wait(10)
    assert client.get(f"/api/jobs/{third['id']}").json()["place"] == 1
    assert client.get(f"/api/jobs/{first}/flow").content == b"flow"


def test_a_waiting_job_is_cancelled_at_once(client: TestClient, held: list[Held]) -> None:
    post(client)
    assert held[0].began.wait(10)
    second, third = post(client)["id"], post(client)["id"]
    assert client.delete(f"/api/jobs/{second}").json()["state"] == "cancelled"
    assert client.get(f"/api/jobs/{third}").json()["place"] == 1
    assert_refused(client.get(f"/api/jobs/{second}/flow"), 409, "cancelled")
    assert client.delete(f"/api/jobs/{second}").json()["state"] == "cancelled"
    for _ in range(2):
        held[0].go.release()
    assert held[2].began.wait(10)
    assert not held[1].began.is_set()


def test_a_running_job_is_cancelled_at_the_next_layer(client: TestClient, held: list[Held]) -> None:
    name = post(client)["id"]
    assert held[0].began.wait(10)
    assert client.delete(f"/api/jobs/{name}").json()["cancelling"]
    assert client.get(f"/api/jobs/{name}").json()["state"] == "running"
    held[0].go.release()
    assert over(client, name) | {"done": 1} == client.get(f"/api/jobs/{name}").json()
    assert client.get(f"/api/jobs/{name}").json()["state"] == "cancelled"
    post(client)
    assert held[1].began.wait(10)


def test_a_real_computation_is_cancelled_and_the_next_one_is_right(client: TestClient) -> None:
    name = post(client, layers=None, tol=1e-4)["id"]
    until(lambda: client.get(f"/api/jobs/{name}").json(), lambda told: told["state"] == "running")
    client.delete(f"/api/jobs/{name}")
    told = over(client, name)
    assert told["state"] == "cancelled"
    assert told["done"] < 6
    assert over(client, post(client)["id"])["state"] == "done"


def test_a_full_queue_refuses(client: TestClient, held: list[Held]) -> None:
    post(client)
    assert held[0].began.wait(10)
    names = [post(client)["id"] for _ in range(LIMITS.queue)]
    answer = client.post("/api/jobs", json=ASK)
    assert_refused(answer, 503, "3 texts are waiting", "try again")
    assert int(answer.headers["retry-after"]) > 0
    client.delete(f"/api/jobs/{names[0]}")
    post(client)


def test_old_jobs_are_dropped(client: TestClient, held: list[Held]) -> None:
    names = []
    for number in range(3):
        names.append(post(client)["id"])
        for _ in range(2):
            until(lambda: len(held), lambda count, number=number: count == number + 1)
            held[number].go.release()
        over(client, names[-1])
    for path in ("", "/flow"):
        assert_refused(
            client.get(f"/api/jobs/{names[0]}{path}"), 404, names[0], "more than 2", "send the text"
        )
    assert client.get(f"/api/jobs/{names[1]}/flow").content == b"flow"


def test_results_are_dropped_by_their_size_too() -> None:
    with Queue(keep=9, keep_bytes=10) as queue:
        names = [queue.add(lambda told, size=size: bytes(size))["id"] for size in (6, 6, 20)]
        until(lambda: queue.state(names[2])["state"], lambda state: state == "done")
        assert len(queue.result(names[2])) == 20
        for name in names[:2]:
            with pytest.raises(Unknown):
                queue.result(name)


def test_no_flow_before_its_time(client: TestClient, held: list[Held]) -> None:
    first = post(client)["id"]
    assert held[0].began.wait(10)
    assert_refused(client.get(f"/api/jobs/{first}/flow"), 409, "running")
    assert_refused(client.get(f"/api/jobs/{post(client)['id']}/flow"), 409, "queued")


@pytest.mark.parametrize(
    ("raised", "said"),
    [(LigflowError("Choose another baseline."), "Choose another baseline."), (KeyError("secret"), "its log")],
)
def test_a_failed_job_says_why_and_the_next_goes_on(
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    raised: Exception,
    said: str,
) -> None:
    def work(*_: Any) -> Callable[[Progress], bytes]:
        def fails(told: Progress) -> bytes:
            raise raised

        return fails

    with monkeypatch.context() as patch:
        patch.setattr(application, "_work", work)
        told = over(client, post(client)["id"])
    assert told["state"] == "failed"
    assert said in told["error"]
    assert "secret" not in told["error"]
    assert ("secret" in caplog.text) == isinstance(raised, KeyError)
    assert_refused(client.get(f"/api/jobs/{told['id']}/flow"), 409, "failed", said)
    assert over(client, post(client)["id"])["state"] == "done"


def test_closing_ends_the_work() -> None:
    work = Held()
    with Queue(limit=1) as queue:
        queue.add(work)
        assert work.began.wait(10)
        waiting = queue.add(lambda told: b"")["id"]
        with pytest.raises(Full):
            queue.add(lambda told: b"")
        work.go.release()
    assert not queue._thread.is_alive()
    with pytest.raises(Unfinished):
        queue.result(waiting)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        ({"text": ""}, ["empty"]),
        ({"text": " \n\t"}, ["blank", "at least one word"]),
        ({"text": "a" * 201}, ["201 characters", "200"]),
        ({"text": "a b c d e f g h i j k l m n o p q r s t u v w"}, ["25 tokens", "24"]),
        ({"text": 5}, ["text is 5", "string"]),
        ({"text": None}, ["text is None"]),
        ({"text": ["a"]}, ["text is ['a']"]),
        ({"model": "gpt-9"}, ["'gpt-9'", "embedded:minilm"]),
        ({"model": "../../etc/passwd"}, ["not offered"]),
        ({"model": {}}, ["model is {}"]),
        ({"att_baseline": "nothing"}, ["att_baseline is 'nothing'", "itb, zero"]),
        ({"mlp_baseline": "itb"}, ["mlp_baseline", "att_itb_a0"]),
        ({"layer_baseline": "itb_map_ratio"}, ["layer_baseline", "mean"]),
        ({"layer_baseline": "x" * 9999}, ["layer_baseline", "..."]),
        ({"tol": 0}, ["tol is 0", "1e-05 to 0.5"]),
        ({"tol": 1}, ["tol is 1"]),
        ({"tol": -1.5}, ["tol is -1.5"]),
        ({"tol": "0.1"}, ["tol is '0.1'"]),
        ({"tol": True}, ["tol is True"]),
        ({"tol": None}, ["tol is None"]),
        ({"layers": [6]}, ["no layer 6", "0 to 5"]),
        ({"layers": [-1]}, ["no layer -1"]),
        ({"layers": [10**30]}, ["layer"]),
        ({"layers": []}, ["layers is empty"]),
        ({"layers": [0, 0]}, ["twice"]),
        ({"layers": [0.5]}, ["layers", "whole numbers"]),
        ({"layers": ["0"]}, ["layers"]),
        ({"layers": 0}, ["layers is 0"]),
        ({"device": "cuda"}, ["Unknown field 'device'", "text, model"]),
        ({"__class__": 1}, ["Unknown field"]),
    ],
)
def test_a_wrong_field_is_refused(client: TestClient, ask: dict[str, Any], said: list[str]) -> None:
    assert_refused(client.post("/api/jobs", json=ASK | ask), 422, *said)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "not JSON"),
        (b"text=hello", 400, "not JSON"),
        (b'{"text": "a"', 400, "not JSON"),
        (b'{"text": "\xff"}', 400, "not JSON"),
        (b'{"text": "\\ud800"}', 400, "not JSON"),
        (b"[" * 5000, 400, "not JSON"),
        (b"[]", 422, "send an object"),
        (b"null", 422, "send an object"),
        (b'"a"', 422, "send an object"),
        (b"{}", 422, "text is missing"),
        (b'{"text": "a", "tol": NaN}', 422, "tol is nan"),
        (b'{"text": "a", "tol": 1e999}', 422, "tol is inf"),
        (b'{"text": "a", "tol": ' + b"9" * 5000 + b"}", 400, "not JSON"),
    ],
)
def test_a_wrong_body_is_refused(client: TestClient, body: bytes, status: int, said: str) -> None:
    assert_refused(client.post("/api/jobs", content=body), status, said)


def test_a_large_body_is_refused_whatever_it_claims(client: TestClient) -> None:
    body = json.dumps({"text": "a" * LIMITS.body}).encode()
    assert_refused(client.post("/api/jobs", content=body), 413, "65536 bytes")
    assert_refused(client.post("/api/jobs", content=body, headers={"content-length": "5"}), 413, "65536")
    assert_refused(client.post("/api/jobs", content=body, headers={"content-length": "-5"}), 413, "65536")
    assert_refused(client.post("/api/jobs", content=iter([body[:40000], body[40000:]])), 413, "65536")


def test_a_text_of_the_most_characters_fits_the_body() -> None:
    for characters in (1, 2000, 10**6):
        body = json.dumps({"text": "\N{GRINNING FACE}" * characters}).encode()
        assert len(body) < Limits(characters=characters).body


def test_a_body_that_does_not_arrive_is_given_up(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(*_: Any) -> Any:
        await application.asyncio.sleep(60)
        yield b""

    monkeypatch.setattr(application, "_BODY_SECONDS", 0.05)
    monkeypatch.setattr(application.Request, "stream", silent)
    assert_refused(client.post("/api/jobs", json=ASK), 408, "did not arrive")


@pytest.mark.parametrize(
    ("method", "path", "takes"),
    [
        ("POST", "/", "GET"), ("PUT", "/api/jobs", "POST"), ("GET", "/api/jobs", "POST"),
        ("OPTIONS", "/api/jobs", "POST"), ("PATCH", "/api/jobs/1", "GET"),
        ("DELETE", "/api/jobs/1/flow", "GET"),
    ],
)  # fmt: skip
def test_a_wrong_method_is_refused(client: TestClient, method: str, path: str, takes: str) -> None:
    answer = client.request(method, path)
    assert_refused(answer, 405, method, takes)
    assert takes in answer.headers["allow"]


@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/openapi.json", "/api", "/api/jobs/", "/x/../../etc/passwd", "/%00", "/%ff"]
)
def test_an_unknown_path_is_refused(client: TestClient, path: str) -> None:
    assert_refused(client.get(path), 404, "/api/jobs")


@pytest.mark.parametrize("name", ["1", "%3Cb%3E", "%00", "x" * 5000])
def test_an_unknown_job_is_refused(client: TestClient, name: str) -> None:
    assert_refused(client.get(f"/api/jobs/{name}"), 404, "There is no job")
    assert_refused(client.get(f"/api/jobs/{name}/flow"), 404, "There is no job")
    assert_refused(client.delete(f"/api/jobs/{name}"), 404, "There is no job")


def test_a_failure_of_the_server_itself_is_answered(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Queue, "state", lambda *_: 1 / 0)
    assert_refused(client.get("/api/jobs/1"), 500, "its log")


def test_a_model_without_tokenizer_is_not_offered(offered: Offered) -> None:
    with pytest.raises(LigflowError, match="no tokenizer"):
        Offered.of(Explainer(offered.explainer.model), LIMITS)


# --- headers, hosts and origins -------------------------------------------------------------------


def test_every_answer_has_the_headers(client: TestClient) -> None:
    answers = [client.get(path) for path in ("/", "/api/models", "/nothing", "/ligflow.js")]
    answers += [client.post("/api/jobs", json=ASK), client.post("/api/jobs", content=b"?")]
    answers += [client.get("/", headers={"host": "evil.example"})]
    for answer in answers:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("host", ["127.0.0.1:8517", "localhost", "LocalHost:9", "[::1]:8517"])
def test_the_loopback_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8517", "127.0.0.1.evil.example", "localhost@evil.example", "10.0.0.1", "",
     "a@localhost", "[::1", "localhost:8517:1", "localhost.evil.example", "localhost/x"],
)  # fmt: skip
def test_other_host_names_are_refused(client: TestClient, host: str) -> None:
    assert_refused(client.get("/api/models", headers={"host": host}), 403, "host", "--host")


def test_the_given_host_is_answered(connect: Connect) -> None:
    client = connect("box.lan", "http://box.lan:8517")
    assert client.get("/").status_code == 200
    assert_refused(client.get("/", headers={"host": "evil.example"}), 403, "box.lan")
    for everywhere in ("0.0.0.0", "::"):
        assert connect(everywhere, "http://any.example").get("/").status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:3000", "http://[", ""])
def test_other_sites_cannot_change_anything(client: TestClient, held: list[Held], origin: str) -> None:
    headers = {"origin": origin}
    assert_refused(client.post("/api/jobs", json=ASK, headers=headers), 403, "may not use")
    assert_refused(client.delete("/api/jobs/1", headers=headers), 403, "may not use")
    assert held == []


def test_the_page_itself_may_post(client: TestClient, held: list[Held]) -> None:
    assert client.post("/api/jobs", json=ASK, headers={"origin": HERE}).status_code == 202


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The command as a process of its own: its port and its process. It leaves its folder empty."""
    folder = tmp_path_factory.mktemp("served")
    options = ["--port", "0", "--keep", "64", "--local-files-only"]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *options], cwd=folder, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "http://127.0.0.1:" in line, process.communicate()
    yield int(line.split("http://127.0.0.1:")[1].split("/")[0]), process.pid
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert "Traceback" not in said, said
    assert list(folder.iterdir()) == []


def raw(port: int, sent: bytes) -> bytes:
    """What the server answers to these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(sent)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def call(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def resident(process: int) -> float:
    """MiB of memory."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def explained(port: int, number: int) -> str:
    """One client's whole way: how its job ended."""
    text = f"Client {number} asks how tokens flow"
    status, body = call(port, "POST", "/api/jobs", json.dumps({"text": text, "layers": [0]}).encode())
    if status == 503:
        return "refused"
    assert status == 202, body
    name = json.loads(body)["id"]
    ends = {"done", "failed", "cancelled"}
    told = until(
        lambda: time.sleep(0.1) or json.loads(call(port, "GET", f"/api/jobs/{name}")[1]),
        lambda told: told["state"] in ends,
        seconds=300,
    )
    status, flow = call(port, "GET", f"/api/jobs/{name}/flow")
    assert status == 200, told
    assert header_of(flow)["meta"]["text"] == text
    return told["state"]


BAD = [
    b"\x00\x01\x02\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 2_000_000 + b"\r\n\r\n",
    b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n{",
    b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\n{,,,}",
    b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n11000\r\n"
    + b"a" * 0x11000 + b"\r\n0\r\n\r\n",
    b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 2000000\r\n\r\n"
    + b"a" * 2_000_000,
    b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
]  # fmt: skip


@pytest.mark.slow
def test_fifty_clients_at_once_and_malformed_ones(server: tuple[int, int]) -> None:
    port, process = server
    assert explained(port, 0) == "done"
    before = resident(process)
    with ThreadPoolExecutor(80) as pool:
        clients = [pool.submit(explained, port, number) for number in range(50)]
        malformed = [pool.submit(raw, port, sent) for sent in BAD * 3]
        ends = [client.result() for client in clients]
        answers = [bad.result() for bad in malformed]
    grown = resident(process) - before
    print(f"memory grew by {grown:.0f} MiB, from {before:.0f}")
    assert ends == ["done"] * 50
    for sent, answer in zip(BAD * 3, answers, strict=True):
        assert answer.startswith(b"HTTP/1.1 4"), (sent[:80], answer)
        assert b'{"error":' in answer
        assert b"content-security-policy" in answer.lower()
    assert grown < 300


@pytest.mark.slow
def test_a_client_that_hangs_up_harms_nobody(server: tuple[int, int]) -> None:
    port, _ = server
    for sent in (b"", b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50\r\n\r\n{"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(sent)
    assert call(port, "GET", "/api/models")[0] == 200


@pytest.fixture
def impatient(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server that waits a moment for headers, and takes 60 connections."""
    monkeypatch.setattr(protocol, "_HEADER_SECONDS", 0.5)
    monkeypatch.setattr(protocol, "_MOST", 60)
    app = connect().app
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, http=protocol.Protocol, ws="none", lifespan="off", log_level="error")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        running.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def shown(impatient: int) -> Iterator[Any]:
    """The page in a browser."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda note: problems.append(note.text) if note.type == "error" else None)
        page.goto(f"http://127.0.0.1:{impatient}/?text=The%20cat%20sat")
        yield page
        assert problems == []


def test_the_page_goes_from_a_text_to_its_findings_and_a_trace(shown: Any) -> None:
    """Text, model and one button; Enter makes no token; the trace is computed when asked for."""
    assert shown.input_value("#text") == "The cat sat"
    visible = shown.eval_on_selector_all(
        "#form select, #form textarea, #form input",
        "all => all.filter(e => e.checkVisibility()).map(e => e.id)",
    )
    assert visible == ["text", "model"]
    assert len(shown.query_selector_all(".examples button")) == 3
    assert "Ctrl-Enter" in shown.inner_text(".buttons")
    shown.wait_for_selector("#explain:enabled")
    shown.focus("#text")
    shown.keyboard.press("End")
    shown.keyboard.press("Enter")
    shown.keyboard.press("Control+Enter")
    shown.wait_for_selector(".findings li")
    assert shown.inner_text(".ligflow h1") == "The cat sat"
    assert shown.query_selector(".findings").bounding_box()["y"] < 300
    assert shown.query_selector("canvas.over").bounding_box()["y"] < 720
    assert "?text=The+cat+sat&model=" in shown.url
    shown.click('[name="tab-trace"]')
    assert "cannot be followed" in shown.inner_text(".trace p")
    shown.click(".trace button")
    shown.wait_for_selector(".trace li")
    assert "mean baseline" in shown.inner_text(".trace p.faint")


HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: a"


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side hangs up."""
    connection.settimeout(60)
    answer = b""
    while part := connection.recv(65536):
        answer += part
    return answer


def test_half_headers_are_given_up_like_half_bodies(impatient: int) -> None:
    """Fifty at once, some after a whole request: each ends with 408, and others are answered meanwhile."""
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(socket.create_connection(("127.0.0.1", impatient))) for _ in range(50)]
        for number, connection in enumerate(waiting):
            connection.sendall(b"GET /api/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * (number % 2) + HALF)
        assert call(impatient, "GET", "/api/models")[0] == 200
        for number, connection in enumerate(waiting):
            answer = all_of(connection)
            assert answer.startswith(b"HTTP/1.1 200" if number % 2 else b"HTTP/1.1 408"), answer
            assert answer.count(b"HTTP/1.1 408 Request Timeout") == 1
            assert answer.count(b"did not arrive within") == 1
    assert call(impatient, "GET", "/")[0] == 200


def test_a_header_that_trickles_in_is_given_up(impatient: int) -> None:
    with socket.create_connection(("127.0.0.1", impatient), timeout=60) as connection:
        connection.sendall(HALF)
        with contextlib.suppress(OSError):  # hung up meanwhile
            for _ in range(200):
                time.sleep(0.02)
                connection.sendall(b"a")
        with contextlib.suppress(ConnectionError):
            assert b"408" in connection.recv(100)


def test_a_connection_too_many_is_refused_and_those_that_say_nothing_end(impatient: int) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", impatient))) for _ in range(90)]
        answers = [all_of(connection) for connection in silent]
    refused = [answer for answer in answers if answer]
    assert 30 <= len(refused) < 90
    assert all(one.startswith(b"HTTP/1.1 503") and b"60 connections" in one for one in refused)
    assert call(impatient, "GET", "/")[0] == 200


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LigflowError, match=rf"Port {port} of 127\.0\.0\.1 is in use.*--port"):
            serve.serve(port=port)


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid", "a" * 70 + ".example", "1:2"])
def test_an_address_that_cannot_be_had_is_named(host: str) -> None:
    with pytest.raises(LigflowError, match=r"Cannot listen.*--host"):
        serve.serve(host=host, port=0)


@pytest.mark.parametrize("warned", [False, True])
def test_what_is_printed_at_the_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, offered: Offered, warned: bool
) -> None:
    monkeypatch.setattr(serve, "_load", lambda *_: [offered])
    monkeypatch.setattr(serve, "_run", lambda *_: None)
    serve.serve(port=0, host="0.0.0.0" if warned else "127.0.0.1")
    out, err = capsys.readouterr()
    assert "ligflow serves embedded:minilm at http://" in out
    assert ("anyone who can reach 0.0.0.0 may use this server" in err) == warned
