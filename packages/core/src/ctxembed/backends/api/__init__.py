"""The remote API as a backend: `load` opens it, `ApiBackend` is its class."""

from ctxembed.backends.api.backend import ApiBackend, load

__all__ = ["ApiBackend", "load"]
