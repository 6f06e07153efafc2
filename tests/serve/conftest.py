"""The server as an application over a queue of its own, and as one that listens."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

import asked_models
from ligflow import Explainer
from ligflow.serve import app as application
from ligflow.serve import protocol
from ligflow.serve.app import create_app
from ligflow.serve.guard import hosts_of
from ligflow.serve.jobs import Queue
from ligflow.serve.limits import Limits
from ligflow.serve.offered import Offered
from served import HERE, LIMITS, PATIENCE, Connect, Held, offer


@pytest.fixture(scope="module")
def offered() -> Offered:
    return Offered.of(Explainer.from_pretrained(), LIMITS)


@pytest.fixture(scope="module")
def speaking() -> Offered:
    """A tiny decoder with a chat template."""
    return offer(asked_models.gpt2(), replace(LIMITS, tokens=48))


@pytest.fixture
def connect(offered: Offered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """A client of an application over a queue of its own; the current folder must stay empty."""
    monkeypatch.chdir(tmp_path)
    queues: list[Queue] = []

    def call(
        host: str = "127.0.0.1", base: str = HERE, limits: Limits = LIMITS, models: Sequence[Offered] = ()
    ) -> TestClient:
        queues.append(Queue(limits.queue, limits.keep, patience=limits.patience).__enter__())
        app = create_app(models or [offered], queues[-1], limits, hosts_of(host))
        return TestClient(app, base_url=base, raise_server_exceptions=False)

    yield call
    for queue in queues:
        queue.__exit__()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def client(connect: Connect) -> TestClient:
    return connect()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Held]]:
    """Every request's computation is held; in the order of the requests."""
    works: list[Held] = []

    def work(*_: Any) -> Held:
        works.append(Held())
        return works[-1]

    monkeypatch.setattr(application, "work_of", work)
    yield works
    for one in works:
        one.go.release(one.layers)


@pytest.fixture
def impatient(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server that waits a moment for headers, and takes 60 connections."""
    monkeypatch.setattr(protocol, "_HEADER_SECONDS", 0.5)
    monkeypatch.setattr(protocol, "_MOST", 60)
    with listening(connect().app) as port:
        yield port


@pytest.fixture
def patient(
    connect: Connect, offered: Offered, speaking: Offered, monkeypatch: pytest.MonkeyPatch
) -> Iterator[int]:
    """The port of a server of two models that waits for headers as long as a busy machine takes."""
    monkeypatch.setattr(protocol, "_HEADER_SECONDS", PATIENCE)
    with listening(connect(models=[speaking, offered]).app) as port:
        yield port


@contextmanager
def listening(app: Any) -> Iterator[int]:
    """The port of a server of an application, which runs in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as port:
        config = uvicorn.Config(app, http=protocol.Protocol, ws="none", lifespan="off", log_level="error")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [port]}, daemon=True)
        thread.start()
        yield port.getsockname()[1]
        running.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()
