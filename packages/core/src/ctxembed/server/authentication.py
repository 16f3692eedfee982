"""`ServerKey`: what clients have to send, kept out of every representation."""

from __future__ import annotations

import hmac

from ctxembed.errors import ConfigurationError


class ServerKey:
    """A bearer token that can be compared and not read."""

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        # a key from a file ends in a line end, which no client can send
        key = key.strip()
        if not key:
            message = "the server's key is empty. Hint: leave it out to ask for none."
            raise ConfigurationError(message)
        if " " in key or not key.isprintable():
            message = (
                "the server's key has spaces or control characters inside, which no client sends."
            )
            raise ConfigurationError(message)
        self._key = key.encode()

    def opens(self, authorization: bytes) -> bool:
        """Tell, in constant time, whether a header `Bearer KEY` holds the key."""
        scheme, _, given = authorization.partition(b" ")
        same = hmac.compare_digest(given.strip(), self._key)
        return scheme.lower() == b"bearer" and same

    def __repr__(self) -> str:
        return "ServerKey(...)"
