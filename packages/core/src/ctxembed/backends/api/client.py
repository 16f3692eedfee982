"""Posting a body until there is an answer: pace, retries, and the errors that are left.

Lives in one event loop. Every attempt has a time limit of its own, and all together have one too.
"""

import asyncio
import logging
import random
import time
from dataclasses import dataclass

import httpx
import msgspec
import tenacity

from ctxembed.backends.api.concurrency import Pace
from ctxembed.backends.api.error_responses import error_of, retry_after, worth_repeating
from ctxembed.errors import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    ConfigurationError,
    DocumentTooLongError,
    EmbedError,
    RateLimitError,
    ResponseError,
)
from ctxembed.version import VERSION

LOG = logging.getLogger(__name__)

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_TIMEOUTS_ALTOGETHER = 10
_REASON_BYTES = 2**16
"""What is read of an answer other than 2xx."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to post, with what right, and how long to try; `timeout` is in seconds an attempt."""

    base_url: str
    api_key: str
    timeout: float
    max_retries: int
    concurrency: int

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r})"


class _Again(Exception):  # noqa: N818 - a signal between here and tenacity
    """An attempt failed with `error`, and another may not; the server asks to `wait` seconds."""

    def __init__(self, error: EmbedError, wait: float | None = None) -> None:
        super().__init__()
        self.error = error
        self.wait = wait


class _Spent(tenacity.stop.stop_base):
    """Seconds of attempts and of waits between them; waiting for a turn doesn't count."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._seconds = self._began = 0.0

    async def __aenter__(self) -> None:
        self._began = time.monotonic()

    async def __aexit__(self, *_: object) -> None:
        self._seconds += time.monotonic() - self._began

    def __call__(self, state: tenacity.RetryCallState) -> bool:
        """Tell whether the next wait would go beyond the limit."""
        return self._seconds + state.idle_for + state.upcoming_sleep > self._limit


class Client:
    """Posts bodies to one endpoint, many at once, all at one pace.

    Raises:
        ConfigurationError: the environment's proxy or certificates are unusable.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._pace = Pace(endpoint.concurrency)
        try:
            self._http = _http_client(endpoint)
        except (OSError, ValueError, httpx.InvalidURL, ImportError) as error:
            # not the error's own words: a proxy's address may hold a password
            raise ConfigurationError(
                f"no client for HTTP can be set up ({type(error).__name__}). Hint: check HTTP_PROXY, "
                "HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR in the environment."
            ) from None

    async def post(self, path: str, body: bytes, most: int, *, divisible: bool = False) -> bytes:
        """Return the content of a 2xx answer, which has `most` bytes at the most.

        Raises:
            ApiError: the last refusal, where trying again didn't help or isn't worth it.
            ApiTimeoutError: the same; at once where the caller can divide what the body asks for.
            DocumentTooLongError: the server says that there are too many tokens.
            ResponseError: the answer is no JSON, too large, or was cut each time.
        """
        endpoint = self._endpoint
        spent = _Spent(endpoint.timeout * _TIMEOUTS_ALTOGETHER)
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_Again),
            wait=_wait,
            stop=tenacity.stop_any(tenacity.stop_after_attempt(endpoint.max_retries + 1), spent),
            before_sleep=_tell,
            reraise=True,
        )
        try:
            async for attempt in attempts:
                with attempt:
                    async with self._pace.turn() as began, spent:
                        try:
                            return await self._attempt(path, body, most, began)
                        except _Again as again:
                            if divisible and isinstance(again.error, ApiTimeoutError):
                                raise again.error from again.__cause__
                            raise
        except _Again as again:
            raise again.error from again.__cause__
        raise AssertionError("unreachable")

    async def _attempt(self, path: str, body: bytes, most: int, began: float) -> bytes:
        url = f"{self._endpoint.base_url}{path}"
        try:
            async with (
                asyncio.timeout(self._endpoint.timeout),
                self._http.stream("POST", url, content=body) as reply,
            ):
                if reply.is_success:
                    self._pace.succeeded()
                    return await _content(reply, most)
                reason = await _reason(reply)
        except (EmbedError, _Again):
            raise
        except Exception as error:
            failure = translated(error, self._endpoint)
            if isinstance(failure, ApiTimeoutError):
                self._pace.refused(began, 0)
            raise _Again(failure) from error
        key = self._endpoint.api_key
        refusal = error_of(reply.status_code, reply.headers, reason, body, key)
        too_long = isinstance(refusal, DocumentTooLongError)
        if too_long or not worth_repeating(reply.status_code, reply.headers):
            raise refusal
        wait = retry_after(reply.headers)
        if isinstance(refusal, RateLimitError):
            quiet = _FIRST_WAIT if wait is None else wait
            # longer than an attempt may take, nobody waits for somebody else's refusal
            self._pace.refused(began, min(quiet, self._endpoint.timeout))
        raise _Again(refusal, wait)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _http_client(endpoint: Endpoint) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={
            "Authorization": f"Bearer {endpoint.api_key}",
            "Content-Type": "application/json",
            "X-Pplx-Integration": f"ctxembed/{VERSION}",
        },
        timeout=httpx.Timeout(endpoint.timeout),
        limits=httpx.Limits(max_connections=endpoint.concurrency),
    )


async def _content(reply: httpx.Response, most: int) -> bytes:
    """Return the whole content of a 2xx answer, or raise what is wrong with it."""
    kind = reply.headers.get("content-type", "json")
    if "json" not in kind:
        raise ResponseError(f"the answer is {kind}, not JSON. Hint: is the base URL the API's?")
    parts = []
    size = 0
    async for part in reply.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > most:
            raise ResponseError(
                f"the answer is larger than the {most:,} bytes that its vectors can have. Hint: is the "
                "base URL the API's?"
            )
    content = b"".join(parts)
    told = reply.headers.keys() & {"content-length", "transfer-encoding"}
    if not told and not _is_whole(content):
        # the end of the connection is then all that says where the answer ends
        raise _Again(ResponseError("the answer was cut: it is no whole JSON, and has no length."))
    return content


async def _reason(reply: httpx.Response) -> bytes:
    """Return the beginning of an answer other than 2xx."""
    content = bytearray()
    async for part in reply.aiter_bytes():
        content += part
        if len(content) > _REASON_BYTES:
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


def _wait(state: tenacity.RetryCallState) -> float:
    """Return what the server asked for, or twice as long each time, with up to a quarter of jitter."""
    again = state.outcome.exception() if state.outcome else None
    asked = again.wait if isinstance(again, _Again) else None
    grown = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (state.attempt_number - 1))
    jitter = random.uniform(1, 1.25)  # noqa: S311 - spreads requests, keeps no secret
    return (grown if asked is None else asked) * jitter


def _tell(state: tenacity.RetryCallState) -> None:
    again = state.outcome.exception() if state.outcome else None
    kind = type(again.error).__name__ if isinstance(again, _Again) else "?"
    wait = state.next_action.sleep if state.next_action else 0
    LOG.warning("attempt %d failed (%s), again in %.1f s", state.attempt_number, kind, wait)
