"""What holds for every answer: headers that lock the page in, and refusals of other sites' requests."""

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "connect-src 'self'; img-src data: blob:; frame-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:@/\[\]\s]+)(:\d{1,5})?")
_READS = ("GET", "HEAD")


def is_everywhere(host: str) -> bool:
    """Whether a server bound to it answers on every address of the machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def hosts_of(host: str) -> frozenset[str] | None:
    """The names that a request may call a server by that is bound to `host`; None: any."""
    if is_everywhere(host):
        return None
    return LOOPBACK | {f"[{host}]" if ":" in host else host.lower()}


class Guard:
    """An application with the headers on all of its answers.

    It answers 403 to a host name other than `hosts` (a foreign name that was made to point here reads what
    the server says), and to a request that changes something and comes from another site's page.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None = LOOPBACK) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        reason = self._refusal(scope["method"], Headers(scope=scope))
        answer = JSONResponse({"error": reason}, 403) if reason else self._app
        await answer(scope, receive, _with_headers(send))

    def _refusal(self, method: str, headers: Headers) -> str | None:
        host = headers.get("host", "").lower()
        name = _HOST.fullmatch(host)
        if self._hosts is not None and (name is None or name[1] not in self._hosts):
            return (
                f"The host {host[:60]!r} is not one of this server's names; open it as "
                f"{' or '.join(sorted(self._hosts))}, or start it with --host."
            )
        origin = headers.get("origin")
        if method not in _READS and origin is not None and _netloc(origin) != host:
            return f"A page of {origin[:60]!r} may not use this server; open the server's own page."
        return None


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin.lower()).netloc
    except ValueError:
        return None


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sending
