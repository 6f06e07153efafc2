"""Headers that do not end, and connections without number."""

import contextlib
import socket
import time

from served import (
    PATIENCE,
    all_of,
    call,
)

HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: a"


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
    with socket.create_connection(("127.0.0.1", impatient), timeout=PATIENCE) as connection:
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
