"""`ligflow serve`."""

import contextlib
import errno
import socket
import warnings
from typing import TYPE_CHECKING, Annotated

from rich.text import Text

from ligflow.cli.options import (
    ADDRESS,
    LIMITS,
    TEXT,
    Device,
    Dtype,
    LocalOnly,
    TrustCode,
    explainer_of,
    option,
)
from ligflow.cli.streams import console, errors, loading
from ligflow.errors import LigflowError
from ligflow.extras import need
from ligflow.names import default_model, speaking_model

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from ligflow.serve.limits import Limits
    from ligflow.serve.offered import Offered

_HOST, _PORT = "127.0.0.1", 8517
_GOODBYE_SECONDS = 3


def serve(
    model: Annotated[
        list[str] | None,
        option(
            "A model that is offered, repeatable; default: the embedded SmolLM2, if it is there, and MiniLM.",
            TEXT,
            "--model",
            "-m",
        ),
    ] = None,
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    trust_remote_code: TrustCode = False,
    host: Annotated[str, option("The address to listen on; default: this machine only.", ADDRESS)] = _HOST,
    port: Annotated[int, option("0: any free one.", ADDRESS, min=0, max=65535)] = _PORT,
    max_characters: Annotated[int, option("Of all texts of a request.", LIMITS, min=1)] = 2000,
    max_tokens: Annotated[int, option("Of all texts of a request.", LIMITS, min=1)] = 256,
    queue: Annotated[int, option("Requests that may wait.", LIMITS, min=1)] = 64,
    keep: Annotated[int, option("Results that are kept, in memory only.", LIMITS, min=1)] = 32,
    patience: Annotated[
        int, option("Seconds for which a request is kept that nobody asks about.", LIMITS, min=1)
    ] = 90,
) -> None:
    """Serve a page that says why, on this machine: one computation at a time, nothing on disk."""
    need("serve", "ligflow serve")
    loading((model or _default_models())[0])
    from ligflow.serve import guard, jobs
    from ligflow.serve.app import create_app
    from ligflow.serve.limits import Limits

    limits = Limits(max_characters, max_tokens, queue, keep, patience)
    queue_of_jobs = jobs.Queue(queue, keep, patience=patience)
    with _listen(host, port) as listening, queue_of_jobs as waiting:
        offered = _load(model, device, dtype, local_files_only, trust_remote_code, limits)
        app = create_app(offered, waiting, limits, guard.hosts_of(host))
        _greet(host, listening.getsockname()[1], offered, guard.is_loopback(host))
        _run(app, listening)


def _listen(host: str, port: int) -> socket.socket:
    """Before any model is loaded. Raises LigflowError if the address cannot be had."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, UnicodeError) as problem:
        if getattr(problem, "errno", None) == errno.EADDRINUSE:
            raise LigflowError(
                f"Port {port} of {host} is in use, perhaps by another ligflow serve; end that, or give "
                "another with --port (0: any free one)."
            ) from problem
        raise LigflowError(
            f"Cannot listen on port {port} of {host!r}: {problem}; give an address of this machine with "
            "--host, and a port that you may use with --port."
        ) from problem


def _load(
    names: list[str] | None,
    device: str | None,
    dtype: str,
    local_files_only: bool,
    trust_remote_code: bool,
    limits: "Limits",
) -> "list[Offered]":
    from ligflow.serve.offered import Offered

    chosen = list(dict.fromkeys(names or _default_models()))
    return [
        Offered.of(
            explainer_of(
                name, None, device, dtype, local_files_only, trust_remote_code=trust_remote_code, lasting=True
            ),
            limits,
        )
        for name in chosen
    ]


def _default_models() -> list[str]:
    """One that continues texts, where it is installed, and one that turns them into vectors."""
    speaking = speaking_model()
    return [default_model()] if speaking is None else [speaking, default_model()]


def _greet(host: str, port: int, offered: "list[Offered]", private: bool) -> None:
    if not private:
        warning = f"warning: anyone who can reach {host} may use this server; without --host nobody else can."
        errors().print(Text(warning))
    address = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
    names = ", ".join(model.name for model in offered)
    console().print(Text(f"ligflow serves {names} at {address} (Ctrl-C ends it)"), soft_wrap=True)


def _run(app: "ASGIApp", listening: socket.socket) -> None:
    """Until Ctrl-C. Flows that miss a tolerance say so themselves, so no warning is printed."""
    import uvicorn

    from ligflow.errors import CompletenessWarning
    from ligflow.serve.protocol import HEADER_BYTES, Protocol

    warnings.simplefilter("ignore", CompletenessWarning)
    config = uvicorn.Config(
        app, http=Protocol, h11_max_incomplete_event_size=HEADER_BYTES, ws="none", lifespan="off",
        log_level="warning", access_log=False, server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=_GOODBYE_SECONDS,
    )  # fmt: skip
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
