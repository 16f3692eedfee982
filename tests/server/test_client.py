"""This project's own client against its own server: the same vectors as the backend behind it."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("httpx")

from ctxembed import MODELS, DocumentTooLongError, Embedder, Settings
from ctxembed.errors import AuthenticationError
from ctxembed.testing import FakeBackend

DOCUMENTS = [[f"chunk {c} of {d}" for c in range(1 + d % 7)] for d in range(60)]
CONTEXTUAL, _, PLAIN, _, _ = MODELS


def client(server, spec=CONTEXTUAL, key="k", **settings):
    return Embedder.open(
        model=spec.name, backend="api", base_url=server.url, api_key=key, **settings
    )


@pytest.mark.parametrize("dimensions", [None, 128, 200])
@pytest.mark.parametrize("encoding", ["int8", "binary", "ubinary", "float"])
@pytest.mark.parametrize("spec", [CONTEXTUAL, PLAIN])
def test_every_encoding_and_dimension_is_that_of_the_backend(serve, spec, encoding, dimensions):
    server = serve(FakeBackend(spec), api_key="k")
    settings = Settings(model=spec.name, encoding=encoding, dimensions=dimensions)
    direct = Embedder(FakeBackend(spec), settings)
    with client(server, spec, encoding=encoding, dimensions=dimensions) as embedder:
        for got, expected in zip(
            embedder.embed_documents(DOCUMENTS), direct.embed_documents(DOCUMENTS), strict=True
        ):
            np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(embedder.embed_query("q"), direct.embed_query("q"))


def test_a_wrong_key_is_an_authentication_error(serve):
    server = serve(FakeBackend(CONTEXTUAL), api_key="k")
    with client(server, key="other") as embedder, pytest.raises(AuthenticationError):
        embedder.embed_query("q")


def test_what_is_too_long_for_the_server_is_too_long_for_the_client(serve):
    server = serve(FakeBackend(replace(CONTEXTUAL, max_tokens=10, window_tokens=10)))
    with client(server) as embedder, pytest.raises(DocumentTooLongError):
        embedder.embed_documents([["a " * 11]])


def test_the_server_counts_for_the_client(serve):
    server = serve(FakeBackend(CONTEXTUAL))
    with client(server) as embedder:
        embedder.embed_documents([["a b", "c"]])
        assert embedder.usage.tokens == 4
        assert embedder.usage.cost == 0
