"""`Client`: posts a body until there is an answer, or an error that is worth telling.

Lives in one event loop. Every attempt has a time limit of its own, and all together have one too.
What is repeated, and when, is in `retries`; what a refusal means is in `error_responses`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import httpx
import msgspec

from ctxembed.backends.api import retries
from ctxembed.backends.api.concurrency import ConcurrencyLimiter
from ctxembed.backends.api.endpoint import Endpoint
from ctxembed.backends.api.error_responses import error_of, retry_after, worth_repeating
from ctxembed.backends.api.retries import TransientFailure
from ctxembed.errors import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    ConfigurationError,
    DocumentTooLongError,
    RateLimitError,
    ResponseError,
)
from ctxembed.telemetry import trace_headers
from ctxembed.version import VERSION

_TIMEOUTS_ALTOGETHER = 10
"""Time for all attempts at one request, as a multiple of the time for one."""

_REASON_BYTES = 2**16
"""How much of an answer other than 2xx is read."""


def request_headers(endpoint: Endpoint) -> dict[str, str]:
    """Return the headers of every request: the key, and who is calling."""
    return {
        "Authorization": f"Bearer {endpoint.api_key}",
        "Content-Type": "application/json",
        "X-Pplx-Integration": f"ctxembed/{VERSION}",
    }


@contextmanager
def errors_of_setup() -> Iterator[None]:
    """Raise a `ConfigurationError` where the environment keeps a client from being made."""
    try:
        yield
    except (OSError, ValueError, httpx.InvalidURL, ImportError) as error:
        # without the error's own words: the address of a proxy may hold a password
        raise ConfigurationError(
            f"no client for HTTP can be set up ({type(error).__name__}). Hint: check "
            "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR in the "
            "environment."
        ) from None


class Client:
    """Posts bodies to one endpoint, many at once, all within one limit.

    Raises:
        ConfigurationError: The proxy or the certificates of the environment are unusable.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._limiter = ConcurrencyLimiter(endpoint.concurrency)
        with errors_of_setup():
            self._http = httpx.AsyncClient(
                headers=request_headers(endpoint),
                timeout=httpx.Timeout(endpoint.timeout),
                limits=httpx.Limits(max_connections=endpoint.concurrency),
            )

    async def post(self, path: str, body: bytes, most: int, *, divisible: bool = False) -> bytes:
        """Return the content of a 2xx answer, which has `most` bytes at most.

        Raises:
            ApiError: The last refusal, where another attempt did not help or is not worth it.
            ApiTimeoutError: The same. With `divisible`, which says that the caller can ask for less
                at a time, it comes at once.
            DocumentTooLongError: The server says that there are too many tokens.
            ResponseError: The answer is not JSON, is too large, or was cut each time.
        """
        return await retries.retry(
            partial(self._attempt, path, body, most, divisible=divisible),
            self._limiter,
            max_retries=self._endpoint.max_retries,
            seconds=self._endpoint.timeout * _TIMEOUTS_ALTOGETHER,
        )

    async def _attempt(
        self, path: str, body: bytes, most: int, began: float, *, divisible: bool
    ) -> bytes:
        endpoint = self._endpoint
        try:
            async with (
                asyncio.timeout(endpoint.timeout),
                self._http.stream(
                    "POST", f"{endpoint.base_url}{path}", content=body, headers=trace_headers()
                ) as reply,
            ):
                if reply.is_success:
                    self._limiter.succeeded()
                    return await _content(reply, most)
                reason = await _beginning(reply, _REASON_BYTES)
        except Exception as error:
            failure = translated(error, endpoint)
            if isinstance(failure, ApiTimeoutError):
                self._limiter.refused(began, 0)
                if divisible:
                    raise failure from error
            raise TransientFailure(failure) from error
        refusal = error_of(reply.status_code, reply.headers, reason, body, endpoint.api_key)
        too_long = isinstance(refusal, DocumentTooLongError)
        if too_long or not worth_repeating(reply.status_code, reply.headers):
            raise refusal
        asked = retry_after(reply.headers)
        if isinstance(refusal, RateLimitError):
            pause = retries.FIRST_WAIT if asked is None else asked
            # no request waits longer for the refusal of another than an attempt may take
            self._limiter.refused(began, min(pause, endpoint.timeout))
        raise TransientFailure(refusal, asked)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


async def _content(reply: httpx.Response, most: int) -> bytes:
    """Return the whole content of a 2xx answer, or raise what is wrong with it."""
    kind = reply.headers.get("content-type", "json")
    if "json" not in kind:
        raise ResponseError(f"the answer is {kind}, not JSON. Hint: is the base URL the API's?")
    content = await _beginning(reply, most)
    if len(content) > most:
        raise ResponseError(
            f"the answer is larger than the {most:,} bytes that its vectors can have. Hint: is the "
            "base URL the API's?"
        )
    has_length = reply.headers.keys() & {"content-length", "transfer-encoding"}
    if not has_length and not _is_whole(content):
        # only the end of the connection says where such an answer ends
        raise TransientFailure(
            ResponseError("the answer was cut: it is no whole JSON, and has no length.")
        )
    return content


async def _beginning(reply: httpx.Response, most: int) -> bytes:
    """Return the content of an answer, cut soon after `most` bytes."""
    content = bytearray()
    async for part in reply.aiter_bytes():
        content += part
        if len(content) > most:
            break
    return bytes(content)


def _is_whole(content: bytes) -> bool:
    try:
        msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def translated(error: Exception, endpoint: Endpoint) -> ApiError:
    """Return our error for one of the HTTP library's; anything else is raised as it is."""
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return ApiTimeoutError(f"no answer within {endpoint.timeout:g} s. Hint: raise timeout.")
    if isinstance(error, httpx.TransportError):
        return ApiConnectionError(
            f"no connection to {endpoint.base_url} ({type(error).__name__}). Hint: check base_url."
        )
    if isinstance(error, httpx.HTTPError | httpx.InvalidURL | httpx.StreamError):
        return ApiConnectionError(
            f"the request to {endpoint.base_url} failed ({type(error).__name__})."
        )
    raise error
