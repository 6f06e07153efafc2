"""The answer to what is not even HTTP, in the same form as every other refusal."""

import json

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ligflow.serve.guard import HEADERS

_LINGER_SECONDS = 1.0


class Protocol(H11Protocol):
    """HTTP/1.1 of uvicorn, whose own refusal is plain text without the headers."""

    _over = False

    def data_received(self, data: bytes) -> None:
        """What comes after a refusal is not looked at."""
        if not self._over:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Says why, as JSON, and hangs up a little later, so that a client still sending sees it."""
        body = json.dumps({"error": f"{msg.rstrip('.')}; send an HTTP/1.1 request."}).encode()
        headers = {**HEADERS, "Content-Type": "application/json", "Connection": "close"}
        headers["Content-Length"] = str(len(body))
        answer = h11.Response(status_code=400, headers=list(headers.items()), reason=b"Bad Request")
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self._over = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)
