"""One request that hangs on a real socket: the others end before it, results in order.

By events: the server holds the first request back until it has seen all other documents.
"""

import asyncio
import threading

import numpy as np
import pytest
from upstream import truth

from ctxembed import Embedder


def run(embedder, documents, way):
    found = getattr(embedder, way)(documents)

    async def collected():
        return [array async for array in found]

    if way == "aembed_documents":
        return asyncio.run(found)
    return asyncio.run(collected()) if way == "astream" else list(found)


@pytest.mark.parametrize("way", ["embed_documents", "stream", "aembed_documents", "astream"])
@pytest.mark.parametrize(
    ("total", "settings"),
    [(40, {"batch_tokens": 1}), (2000, {"batch_tokens": 60, "concurrency": 2})],
    ids=["one block", "many blocks"],
)
def test_the_others_are_answered_before_a_request_that_hangs(api, way, total, settings):
    seen: set[str] = set()
    lock, others = threading.Lock(), threading.Event()
    held: set[str] = set()

    def hold(handler, body):
        texts = {text for document in body["input"] for text in document}
        with lock:
            seen.update(texts)
            if "n0" in texts:
                held.update(texts)
            if len(seen) == total:
                others.set()
        if "n0" in texts:
            assert others.wait(50), f"{total - len(seen)} of {total} documents were held up"

    api.always = hold
    documents = [[f"n{number}"] for number in range(total)]
    with Embedder.open(backend="api", dimensions=128, **settings) as embedder:
        found = run(embedder, documents, way)

    assert len(held) < 200
    assert len(found) == total
    expected = np.stack([truth([f"n{number}"], 0, 128) for number in range(total)])
    assert np.array_equal(expected, np.concatenate(found))
