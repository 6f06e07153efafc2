"""The command as a process of its own, and many clients at once."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from served import (
    PATIENCE,
    call,
    header_of,
    raw,
    until,
)

COMMAND = "import typer; from ligflow.cli.serve import serve; typer.run(serve)"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The command as a process of its own: its port and its process. It leaves its folder empty."""
    folder = tmp_path_factory.mktemp("served")
    options = ["--model", "embedded:minilm", "--port", "0", "--keep", "64", "--local-files-only"]
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
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert "Traceback" not in said, said
    assert list(folder.iterdir()) == []


def resident(process: int) -> float:
    """MiB of memory."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def explained(port: int, number: int) -> str:
    """One client's whole way: how its job ended."""
    text = f"Client {number} asks how tokens flow"
    status, body = call(port, "POST", "/api/flows", json.dumps({"text": text, "layers": [0]}).encode())
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
    status, flow = call(port, "GET", f"/api/jobs/{name}/result")
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
    b"POST /api/flows HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/flows HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n{",
    b"POST /api/flows HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\n{,,,}",
    b"POST /api/flows HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n11000\r\n"
    + b"a" * 0x11000 + b"\r\n0\r\n\r\n",
    b"POST /api/flows HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 2000000\r\n\r\n"
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
    for sent in (b"", b"POST /api/flows HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50\r\n\r\n{"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(sent)
    assert call(port, "GET", "/api/models")[0] == 200
