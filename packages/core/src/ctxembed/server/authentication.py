"""`ApiKey`: the bearer token that clients have to send."""

import hmac

from ctxembed.errors import ConfigurationError


class ApiKey:
    """A bearer token that can be compared and that no representation shows."""

    def __init__(self, key: str) -> None:
        # a key from a file ends in a line end, which no client can send
        key = key.strip()
        if not key:
            raise ConfigurationError(
                "the server's key is empty. Hint: leave it out to ask for none."
            )
        if " " in key or not key.isprintable():
            raise ConfigurationError(
                "the server's key contains spaces or control characters, which no client can send."
            )
        self._key = key.encode()

    def matches(self, authorization: bytes) -> bool:
        """Tell, in constant time, whether a header `Bearer KEY` holds the key."""
        scheme, _, given = authorization.partition(b" ")
        same = hmac.compare_digest(given.strip(), self._key)
        return scheme.lower() == b"bearer" and same
