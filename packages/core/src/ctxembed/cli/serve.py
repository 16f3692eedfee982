"""`ctxembed serve`: options and a socket around the server's application."""

from __future__ import annotations

import ipaddress
import logging
import sys
from typing import Annotated

import typer

from ctxembed.embedder import Embedder
from ctxembed.errors import ConfigurationError
from ctxembed.settings import DEFAULT_MODEL, Settings

KEY_VARIABLE = "CTXEMBED_SERVER_KEY"


def serve(
    *,
    model: Annotated[
        str,
        typer.Option(
            rich_help_panel="Model", help="Hub id, directory, or a name from `ctxembed models`."
        ),
    ] = DEFAULT_MODEL,
    backend: Annotated[
        str,
        typer.Option(
            rich_help_panel="Model",
            metavar="auto|torch|onnx",
            help="What runs the model; auto goes by the kind of weights.",
        ),
    ] = "auto",
    device: Annotated[
        str | None,
        typer.Option(
            rich_help_panel="Model", help="cpu, cuda, ...; without it a GPU if there is."
        ),
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(
            rich_help_panel="Model",
            metavar="auto|float32|bfloat16|int8",
            help="auto is float32 on a CPU and bfloat16 on a GPU; int8 approximates, on a CPU.",
        ),
    ] = "auto",
    window_tokens: Annotated[
        int | None,
        typer.Option(rich_help_panel="Model", help="Tokens that go through the model together."),
    ] = None,
    alias: Annotated[
        list[str] | None,
        typer.Option(help="Another model id to answer; may be given several times."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = 8080,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar=KEY_VARIABLE,
            help="Bearer token that clients have to send. Other users see a command's options.",
        ),
    ] = None,
    max_queue_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens that may wait; beyond, clients get 429.")
    ] = 1_000_000,
    max_body_bytes: Annotated[
        int, typer.Option(min=1, help="Size of a request; beyond, clients get 413.")
    ] = 8 * 2**20,
) -> None:
    """Serve the embeddings API from local weights, for every client of the hosted one.

    It listens at once and is ready (`GET /ready`) when the weights are loaded. SIGTERM or Ctrl-C
    stops it from accepting; what is under way is finished first, for a minute at the most. A second
    Ctrl-C cuts it off.

    A pplx-embed checkpoint answers its own model ids, any other all four official ones;
    `GET /v1/models` lists them.

    Exit code: 2 when the model can't be loaded or the address is taken.
    """
    from ctxembed.server import create_app
    from ctxembed.server.listener import Listener, bind

    if backend == "api":
        raise ConfigurationError("serve runs local weights. Hint: leave --backend out.")
    settings = Settings.from_dict(
        {
            "model": model,
            "backend": backend,
            "device": device,
            "dtype": dtype,
            "window_tokens": window_tokens,
        }
    )
    failures: list[Exception] = []

    def failed(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_app(
        lambda: Embedder.open(settings),
        api_key=api_key,
        aliases=alias or (),
        max_queue_tokens=max_queue_tokens,
        max_body_bytes=max_body_bytes,
        failed=failed,
    )
    server = Listener(app)
    with bind(host, port) as listening:
        _log_to_stderr()
        address = f"[{host}]" if ":" in host else host
        url = f"http://{address}:{listening.getsockname()[1]}"
        print(f"{url} serves {model}, loading", file=sys.stderr)
        if api_key is None and not _is_loopback(host):
            print(
                f"warning: anyone who reaches {host} can use it; {KEY_VARIABLE} sets a key",
                file=sys.stderr,
            )
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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
