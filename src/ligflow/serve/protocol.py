"""HTTP/1.1 with bounds on connections and headers, and a reason in JSON for what is refused.

What holds for bodies (app.py) holds for headers here: they arrive within a time, they are bounded in bytes
(`HEADER_BYTES`), and so are the connections that wait with half of one.
"""

import asyncio
import json

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ligflow.serve.guard import HEADERS

HEADER_BYTES = 64 * 1024
_HEADER_SECONDS = 20.0  # from the first byte, and from a connection to its first byte
_MOST = 256  # connections at once
_LINGER_SECONDS = 1.0


class Protocol(H11Protocol):
    """One connection of uvicorn, whose own refusal is plain text without the headers, and has no clock."""

    _over = _half = False
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > _MOST:
            self._refuse(503, f"There are {_MOST} connections, the most there may be; try again soon.")
        else:
            self._clock = self.loop.call_later(_HEADER_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        """What comes after a refusal is not looked at."""
        if self._over:
            return
        super().data_received(data)
        self._time_header()

    def on_response_complete(self) -> None:
        """A client may have sent half of its next request already."""
        super().on_response_complete()
        self._time_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """The clock stops with its connection."""
        self._stop_clock()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """For what is not even HTTP."""
        self._refuse(400, f"{msg.rstrip('.')}; send an HTTP/1.1 request.")

    def _time_header(self) -> None:
        """The clock runs from the first byte of a header to its last."""
        half = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if not half or self._over:
            self._half = False
            self._stop_clock()
        elif not self._half:
            self._half = True
            self._stop_clock()
            self._unset_keepalive_if_required()
            self._clock = self.loop.call_later(_HEADER_SECONDS, self._late)

    def _late(self) -> None:
        self._refuse(408, f"The header did not arrive within {_HEADER_SECONDS:.0f} s; send it again.")

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _refuse(self, status: int, reason: str) -> None:
        """Says why, as JSON, and hangs up a little later, so that a client still sending sees it."""
        self._over = True
        self._stop_clock()
        body = json.dumps({"error": reason}).encode()
        headers = {**HEADERS, "Content-Type": "application/json", "Connection": "close"}
        headers["Content-Length"] = str(len(body))
        answer = h11.Response(status_code=status, headers=list(headers.items()), reason=_REASONS[status])
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)


_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 503: b"Service Unavailable"}
