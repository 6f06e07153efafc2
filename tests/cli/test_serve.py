"""`ligflow serve`: its options reach the server, which says where it listens, or why it cannot."""

import socket
import sys
from typing import Any

import pytest

from command_line import Run, assert_refused
from ligflow.cli import serve
from ligflow.errors import LigflowError
from ligflow.serve.offered import Offered


def test_the_server_is_a_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run("serve", "--help")
    assert code == 0
    assert "--max-tokens" in out
    monkeypatch.setitem(sys.modules, "starlette", None)
    assert_refused(run("serve"), 1, "pip install 'ligflow[serve]'")


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
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, warned: bool
) -> None:
    explainer: Any = None  # nothing is explained here
    offered = Offered("embedded:minilm", explainer, None, layers=6, heads=12, tokens=24)
    monkeypatch.setattr(serve, "_load", lambda *_: [offered])
    monkeypatch.setattr(serve, "_run", lambda *_: None)
    serve.serve(port=0, host="0.0.0.0" if warned else "127.0.0.1")
    out, err = capsys.readouterr()
    assert "ligflow serves embedded:minilm at http://" in out
    assert ("anyone who can reach 0.0.0.0 may use this server" in err) == warned
