"""The fake keeps the contract too."""

import pytest

from ctxembed.testing import BackendContract, FakeBackend


class TestFake(BackendContract):
    """The fake backend, exactly."""

    least_equal = 1.0

    @pytest.fixture
    def backend(self) -> FakeBackend:
        """Return a fake with its defaults."""
        return FakeBackend()
