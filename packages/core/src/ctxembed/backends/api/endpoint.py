"""`Endpoint`: where requests go, with which key, and how long and how often each is tried.

What the settings leave open comes from the environment, and then from the defaults here.
"""

import os
import re
from dataclasses import dataclass, field

from ctxembed.errors import ConfigurationError
from ctxembed.settings import Settings
from ctxembed.wire import DEFAULT_URL, KEY_VARIABLES, URL_VARIABLE

_CONCURRENCY = 16
_TIMEOUT = 60.0
_RETRIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address, the key for it, and the limits of its use.

    `timeout` is in seconds for one attempt. `concurrency` is the largest number of requests at the
    same time.
    """

    base_url: str
    api_key: str = field(repr=False)
    timeout: float
    max_retries: int
    concurrency: int


def find_endpoint(settings: Settings, api_key: str | None) -> Endpoint:
    """Return the endpoint that the settings, the key and the environment describe.

    Raises:
        ConfigurationError: There is no key, or the key or the base URL is malformed.
    """
    return Endpoint(
        base_url=_base_url(settings.base_url),
        api_key=_key(api_key),
        timeout=settings.timeout or _TIMEOUT,
        max_retries=_RETRIES if settings.max_retries is None else settings.max_retries,
        concurrency=settings.concurrency or _CONCURRENCY,
    )


def _key(given: str | None) -> str:
    candidates = [given, *(os.environ.get(name) for name in KEY_VARIABLES)]
    key = next(filter(None, candidates), "").strip()
    if not key:
        raise ConfigurationError(
            f"the API needs a key. Hint: set {KEY_VARIABLES[0]}, or pass api_key in Python. A "
            "server of your own that asks for no key takes any text."
        )
    if not re.fullmatch(r"[!-~]+", key):
        raise ConfigurationError("the API key has characters that no key has.")
    return key


def _base_url(given: str | None) -> str:
    url = (given or os.environ.get(URL_VARIABLE) or DEFAULT_URL).strip().rstrip("/")
    url = url.removesuffix("/v1").rstrip("/")
    if "@" in url:
        raise ConfigurationError(
            "the base URL must not hold a name or a password. "
            f"Hint: change {URL_VARIABLE}, or base_url."
        )
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"base_url starts with http:// or https://, got {url!r}.")
    return url
