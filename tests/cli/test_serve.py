"""`ligflow serve`: its options reach the server."""

import sys

import pytest

from command_line import Run, assert_refused


def test_the_server_is_a_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run("serve", "--help")
    assert code == 0
    assert "--max-tokens" in out
    monkeypatch.setitem(sys.modules, "starlette", None)
    assert_refused(run("serve"), 1, "pip install 'ligflow[serve]'")
