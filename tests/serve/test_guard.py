"""Headers, hosts and origins."""

import pytest
from starlette.testclient import TestClient

from ligflow.serve.guard import HEADERS
from served import ASK, HERE, Connect, Held, assert_refused


def test_every_answer_has_the_headers(client: TestClient) -> None:
    answers = [client.get(path) for path in ("/", "/api/models", "/nothing", "/ligflow.js")]
    answers += [client.post("/api/flows", json=ASK), client.post("/api/flows", content=b"?")]
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
    assert_refused(client.post("/api/flows", json=ASK, headers=headers), 403, "may not use")
    assert_refused(client.delete("/api/jobs/1", headers=headers), 403, "may not use")
    assert held == []


def test_the_page_itself_may_post(client: TestClient, held: list[Held]) -> None:
    assert client.post("/api/flows", json=ASK, headers={"origin": HERE}).status_code == 202
