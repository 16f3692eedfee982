"""For tests: `FakeBackend` needs no weights, `BackendContract` is what every backend promises.

The contract needs pytest, so it is imported when it is asked for.
"""

from typing import TYPE_CHECKING

from ctxembed.testing.fake import FakeBackend

if TYPE_CHECKING:
    from ctxembed.testing.contract import BackendContract

__all__ = ["BackendContract", "FakeBackend"]


def __getattr__(name: str) -> object:
    if name == "BackendContract":
        from ctxembed.testing.contract import BackendContract  # noqa: PLC0415 - needs pytest

        return BackendContract
    raise AttributeError(name)
