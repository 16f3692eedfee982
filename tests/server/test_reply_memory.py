"""What a reply will weigh is known before it is made."""

import numpy as np
import pytest
from starlette.exceptions import HTTPException

from ctxembed import MODELS, Embedder, Settings
from ctxembed.recipe import document_recipe
from ctxembed.server import reply_memory
from ctxembed.server.reply_memory import ReplyMemory, reply_bytes, weight_of
from ctxembed.server.response_body import response_body
from ctxembed.testing import FakeBackend
from ctxembed.wire import ENCODINGS

WIDE = {"dimensions": 2560}


@pytest.mark.parametrize("wire_format", ENCODINGS)
def test_no_reply_is_larger_than_foreseen(wire_format):
    with Embedder(FakeBackend(), Settings(encoding=ENCODINGS[wire_format])) as embedder:
        rows = embedder.embed_documents([["a"] * 300])
    if wire_format in ("float", "base64"):
        rows[0][0] = np.float32(-1.1754944e-38)  # as long as a number gets
    body = response_body(rows, model="m", wire_format=wire_format, tokens=1, nested=True)
    foreseen = reply_bytes(300, rows[0].shape[1], wire_format)
    assert foreseen / 3 < len(body) < foreseen + 500


def test_a_reply_that_would_be_too_large_is_413_and_never_begun(serve):
    """80 kB that asked for 822 MB."""
    server = serve(spec=WIDE)
    answer = server.documents([["a"] * 31] * 512, encoding_format="float")
    assert answer.status_code == 413
    told = answer.json()["error"]
    assert told["type"] == "request_too_large"
    assert "the maximum is 67,108,864. Send fewer chunks at once" in told["message"]
    assert not server.backend.windows


def test_the_limits_of_the_api_fit_in_with_its_own_encodings(serve):
    server = serve(FakeBackend(fault=lambda _: [], record=False), spec=WIDE)
    recipe = document_recipe(Settings(), server.backend)
    for wire_format in ("base64_int8", "base64_binary"):
        assert weight_of(16_000, recipe, wire_format) < 12 * 64 * 2**20


def test_replies_under_way_are_bounded_together(serve, hold, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr(reply_memory, "MAX_REPLIES", 3)
    monkeypatch.setattr(reply_memory, "MAX_REPLY_BYTES", 20_000)
    server = serve(FakeBackend(MODELS[0], fault=hold))
    with ThreadPoolExecutor() as pool:
        first = pool.submit(server.documents, [["a", "b"]])
        assert hold.entered.wait(20)
        refused = server.documents([["a"] * 9])
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        hold.opened.set()
        assert first.result(20).status_code == 200
    for _ in range(20):  # what was sent, and what was refused, weighs nothing any more
        assert server.documents([["a"] * 9]).status_code == 200
        assert server.documents([["a", ""]]).status_code == 400


def test_weights_add_up():
    memory = ReplyMemory()
    most = reply_memory.MAX_REPLIES * reply_memory.MAX_REPLY_BYTES
    release = memory.hold(most)
    with pytest.raises(HTTPException, match="too many large replies"):
        memory.hold(1)
    release()
    memory.hold(most)
