"""`ctxembed serve`: the options and the socket around the server's application."""

import logging
import sys
from typing import Annotated

import typer

from ctxembed.cli.local_backend import LocalBackend, with_backend
from ctxembed.cli.options import with_settings
from ctxembed.embedder import Embedder
from ctxembed.errors import ConfigurationError
from ctxembed.settings import Settings
from ctxembed.wire import MAX_BODY_BYTES, MAX_QUEUE_TOKENS

KEY_VARIABLE = "CTXEMBED_SERVER_KEY"


# requests choose encoding, dimensions and length, and are not told apart as queries
@with_settings(
    *("model", "revision", "device", "dtype", "pooling", "batch_tokens"),
    *("window_tokens", "overlap_tokens", "context_weight", "neighbour_weight", "document_prefix"),
    *("long_chunks", "long_queries", "cache", "cache_bytes"),
)
def serve(
    settings: Settings,
    *,
    backend: LocalBackend = "auto",
    alias: Annotated[
        list[str] | None,
        typer.Option(help="Another model id that is served; may be given several times."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = 8080,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar=KEY_VARIABLE,
            help="Bearer token that clients have to send. Other users of the machine can see "
            "options, but not the variable.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Another name that a server without a key answers to; may be given several times. "
            "* is any name."
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin of a page in a browser that may use the server, as in "
            "http://localhost:3000; may be given several times."
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Listen beyond this machine without a key."),
    ] = False,
    max_queue_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens that may wait; beyond them clients get 429.")
    ] = MAX_QUEUE_TOKENS,
    max_body_bytes: Annotated[
        int, typer.Option(min=1, help="Largest size of a request; beyond it clients get 413.")
    ] = MAX_BODY_BYTES,
) -> None:
    """Serve the embeddings API from local weights, to any client of the hosted API.

    The server listens at once and is ready (`GET /ready`) when the weights are loaded. After
    SIGTERM or Ctrl-C it accepts no more requests and finishes those that it has, for at most one
    minute. A second Ctrl-C stops it at once.

    A pplx-embed checkpoint is served under its own model ids, any other model under all four
    official ones. `GET /v1/models` lists them.

    Exit code: 2 when the model cannot be loaded or the address is taken.
    """
    from ctxembed.server import create_app
    from ctxembed.server.browsers import ANY_HOST, Allowed, is_loopback
    from ctxembed.server.listener import Listener, bind

    beyond = api_key is None and not is_loopback(host)
    if beyond and not insecure:
        raise ConfigurationError(
            f"anyone who reaches {host} could use a server without a key. "
            f"Hint: set {KEY_VARIABLE}, or insist with --insecure."
        )
    settings = with_backend(settings, backend, refusal="serve runs local weights.")
    failures: list[Exception] = []

    def failed(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_app(
        lambda: Embedder.open(settings),
        api_key=api_key,
        aliases=alias or (),
        allowed=Allowed(allow_host or ([ANY_HOST] if beyond else []), allow_origin or []),
        max_queue_tokens=max_queue_tokens,
        max_body_bytes=max_body_bytes,
        failed=failed,
    )
    server = Listener(app)
    try:
        listening = bind(host, port)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}. "
            "Hint: try another --port, or an address of this machine as --host."
        ) from error
    with listening:
        _log_to_stderr()
        address = f"[{host}]" if ":" in host else host
        url = f"http://{address}:{listening.getsockname()[1]}"
        print(f"{url} serves {settings.model}, loading", file=sys.stderr)
        if beyond:
            print(f"warning: anyone who reaches {host} can use the server", file=sys.stderr)
        server.run(sockets=[listening])
    if failures:
        raise failures[0]


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("ctxembed.server")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
