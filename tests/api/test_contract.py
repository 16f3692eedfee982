"""The client keeps the contract of every backend."""

import pytest

from ctxembed import Settings
from ctxembed.backends import open_backend
from ctxembed.testing import BackendContract


class TestApi(BackendContract):
    """Over a real socket; codes are bytes, so they are exactly the same each time."""

    least_equal = 1.0

    @pytest.fixture
    def backend(self, api):
        """Return a client of the server on loopback."""
        backend = open_backend(Settings(backend="api", timeout=10))
        yield backend
        backend.close()


class TestExactCount(TestApi):
    """The same with a tokenizer at hand."""

    @pytest.fixture
    def backend(self, api, pplx_checkpoint):
        """Return a client that counts with the short vocabulary."""
        backend = open_backend(Settings(backend="api", tokenizer=str(pplx_checkpoint)))
        yield backend
        backend.close()


def test_counts_are_exact(api, whole_pplx_checkpoint):
    """The golden document has 37 ids of the real vocabulary, two of them separators."""
    backend = open_backend(Settings(backend="api", tokenizer=str(whole_pplx_checkpoint)))
    chunks = [
        "Curiosity begins in childhood with endless questions about the world.",
        "As we grow, curiosity drives us to explore new ideas.",
        "Scientific breakthroughs often start with a curious question.",
    ]

    assert sum(chunk.count for chunk in backend.tokenize(chunks)) + 2 == 37
    backend.close()
