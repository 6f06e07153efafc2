"""The web application: the page, its files, and an API of jobs. Every refusal is JSON with a reason."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from importlib import resources
from pathlib import PurePath
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ligflow.errors import LigflowError
from ligflow.serve.checks import check
from ligflow.serve.guard import LOOPBACK, Guard
from ligflow.serve.jobs import Full, Queue, Unfinished, Unknown
from ligflow.serve.limits import Limits
from ligflow.serve.offered import Offered
from ligflow.serve.request import (
    CHAINED,
    TOLS,
    FlowRequest,
    LikeliestRequest,
    Malformed,
    WhyRequest,
    read,
)
from ligflow.serve.work import work_of
from ligflow.view.interactive_page import module, style

Answer = Callable[[Request], Awaitable[Response]]
_RETRY_SECONDS = 5
_BODY_SECONDS = 20.0
_DRAIN_SECONDS, _DRAIN_BYTES = 1.0, 2**22
_UNKNOWN_PATH = (
    "There is no such page; the page is at /, and the API at /api/models, /api/flows, /api/likeliest, "
    "/api/why and /api/jobs."
)
_KINDS = {"flows": FlowRequest, "likeliest": LikeliestRequest, "why": WhyRequest}
_PAGE = ("page.css", "page.js", "form.js", "chat.js", "server.js", "outputs.js")
_MEDIA = {".css": "text/css", ".js": "text/javascript"}


class TooLarge(LigflowError):
    """A body beyond the limit."""


class TooSlow(LigflowError):
    """A body that did not arrive in time."""


_STATUS: dict[type[Exception], int] = {
    Malformed: 400,
    Unknown: 404,
    TooSlow: 408,
    Unfinished: 409,
    TooLarge: 413,
    Full: 503,
}


def create_app(
    models: Sequence[Offered],
    queue: Queue,
    limits: Limits,
    hosts: frozenset[str] | None = LOOPBACK,
) -> ASGIApp:
    """The application over a running queue. The names that it answers to are `hosts`; None: any."""
    service = _Service(models, queue, limits)
    routes = [Route(path, _file(content, kind)) for path, (content, kind) in _files().items()]
    for path, method, call in (
        ("/api/models", "GET", service.models),
        *((f"/api/{name}", "POST", service.adding(kind)) for name, kind in _KINDS.items()),
        ("/api/jobs/{name}", "GET", service.state),
        ("/api/jobs/{name}", "DELETE", service.cancel),
        ("/api/jobs/{name}/result", "GET", service.result),
    ):
        routes.append(Route(path, call, methods=[method]))
    app = Starlette(routes=routes, exception_handlers={
        LigflowError: _refused, HTTPException: _no_route, ClientDisconnect: _gone, Exception: _broken,
    })  # fmt: skip
    app.router.redirect_slashes = False
    return Guard(app, hosts)


class _Service:
    def __init__(self, models: Sequence[Offered], queue: Queue, limits: Limits) -> None:
        self._models = {model.name: model for model in models}
        self._queue, self._limits = queue, limits

    async def models(self, _: Request) -> JSONResponse:
        most = vars(self._limits) | {"body": self._limits.body, "tol": TOLS}
        models = [model.describe() for model in self._models.values()]
        return _json({"models": models, "limits": most, "chained": CHAINED})

    def adding(self, kind: Any) -> Answer:
        """Takes requests of a kind into the queue."""

        async def add(request: Request) -> Response:
            wanted = read(kind, await _body(request, self._limits.body))
            model = check(wanted, self._models, self._limits)
            state = self._queue.add(work_of(wanted, model))
            return _json(state, 202, {"Location": f"/api/jobs/{state['id']}"})

        return add

    async def state(self, request: Request) -> JSONResponse:
        return _json(self._queue.state(request.path_params["name"]))

    async def cancel(self, request: Request) -> JSONResponse:
        return _json(self._queue.cancel(request.path_params["name"]))

    async def result(self, request: Request) -> Response:
        result = self._queue.result(request.path_params["name"])
        return Response(result.content, media_type=result.media_type)


async def _body(request: Request, limit: int) -> bytes:
    """What was sent, given up as soon as it is too much, whatever length it claims, or takes too long."""
    length = request.headers.get("content-length", "0")
    large = not length.isdecimal() or len(length) > 15 or int(length) > limit
    chunks, body = request.stream(), bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while not large and (chunk := await anext(chunks, None)) is not None:
                body += chunk
                large = len(body) > limit
    except TimeoutError as problem:
        raise TooSlow(f"The body did not arrive within {_BODY_SECONDS:.0f} s; send it again.") from problem
    if large:
        await _drain(chunks)
        raise _too_large(limit)
    return bytes(body)


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Takes in the rest, within bounds: a client that is still sending would not see the answer."""
    read = 0
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for chunk in chunks:
                read += len(chunk)
                if read > _DRAIN_BYTES:
                    return


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The request has more than {limit} bytes, the most that are taken; shorten the text.")


def _files() -> dict[str, tuple[str, str]]:
    """The page and the viewer, read now."""
    folder = resources.files("ligflow.serve").joinpath("page")
    texts = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in ("index.html", *_PAGE)}
    return {
        "/": (texts.pop("index.html"), "text/html"),
        "/ligflow.js": (module(), "text/javascript"),
        "/ligflow.css": (style(), "text/css"),
    } | {f"/{name}": (text, _MEDIA[PurePath(name).suffix]) for name, text in texts.items()}


def _file(content: str, kind: str) -> Answer:
    async def answer(_: Request) -> Response:
        return Response(content, media_type=kind)

    return answer


def _json(content: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(content, status, headers)


async def _refused(_: Request, problem: Exception) -> Response:
    headers = {"Retry-After": str(_RETRY_SECONDS)} if isinstance(problem, Full) else None
    return _json({"error": str(problem)}, _STATUS.get(type(problem), 422), headers)


async def _no_route(request: Request, problem: Exception) -> Response:
    """What the router refuses: a path it does not know, or a method that the path does not take."""
    assert isinstance(problem, HTTPException)
    headers = dict(problem.headers or {})
    if problem.status_code == 405:
        takes = headers["Allow"]
        return _json({"error": f"This path does not take {request.method}; it takes {takes}."}, 405, headers)
    return _json({"error": _UNKNOWN_PATH}, problem.status_code, headers)


async def _gone(_: Request, __: Exception) -> Response:
    """The client hung up, so nobody reads this."""
    return _json({"error": "The request ended early; send it again."}, 400)


async def _broken(_: Request, __: Exception) -> Response:
    """The traceback goes to the log, by way of the web server."""
    return _json({"error": "The server failed on this request; its log says why."}, 500)
