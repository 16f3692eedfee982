"""`BrowserGuard`: what a page in a browser may not do with a server that asks for no key.

A page can post to any address without asking first, where the content type is plain, and once its
own name leads to this machine (DNS rebinding) it can read the answers too. A server without a key
therefore answers to loopback names only, takes JSON only, and refuses requests of pages.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Scope

ANY_HOST = "*"


def is_loopback(name: str) -> bool:
    """Tell whether a name or an address is this machine's own.

    >>> is_loopback("127.0.0.2"), is_loopback("::1"), is_loopback("localhost.evil.example")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What is taken all the same.

    Attributes:
        hosts: Names that the server answers to besides loopback; "*" is any.
        origins: Origins of pages that may ask, as in "http://localhost:3000".
    """

    hosts: Sequence[str] = ()
    origins: Sequence[str] = ()


class BrowserGuard:
    """Refuses requests that only a page in a browser would make."""

    def __init__(self, allowed: Allowed) -> None:
        self._hosts = {host.casefold() for host in allowed.hosts}
        self._origins = set(allowed.origins)

    def refusal(self, scope: Scope) -> HTTPException | None:
        """Return a 403 or a 415, or None for a request that is taken."""
        headers = Headers(scope=scope)
        host, origin = _name(headers.get("host", "")), headers.get("origin")
        if ANY_HOST not in self._hosts and not (is_loopback(host) or host in self._hosts):
            return HTTPException(
                HTTPStatus.FORBIDDEN,
                "this server answers to its own names only. Whoever runs it can add one with "
                "--allow-host.",
            )
        if origin is not None and origin not in self._origins:
            return HTTPException(
                HTTPStatus.FORBIDDEN,
                "pages in browsers may not use this server. Whoever runs it can allow one with "
                "--allow-origin.",
            )
        kind = headers.get("content-type", "").partition(";")[0].strip().casefold()
        if scope["method"] == "POST" and kind != "application/json":
            return HTTPException(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "the body has to be JSON, with `Content-Type: application/json`.",
            )
        return None


def _name(host: str) -> str:
    """Return the name in a `Host` header, without a port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].casefold()
