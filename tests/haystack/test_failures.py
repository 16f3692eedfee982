"""What fails, how far it spreads, and how it is told; counts and faults by a fake backend."""

import logging

import numpy as np
import pytest
from haystack import Document

from ctxembed import (
    ApiConnectionError,
    AuthenticationError,
    DeviceMemoryError,
    DocumentTooLongError,
    InputError,
    Limits,
    NonFiniteError,
    RateLimitError,
    ResponseError,
)
from haystack_integrations.components.embedders.ctxembed import ContextualDocumentEmbedder


def made(**settings):
    return ContextualDocumentEmbedder(**({"progress_bar": False} | settings))


def chunk(text, source, place=0):
    """A chunk with an id of its own: Haystack cannot hash a lone surrogate."""
    meta = {"source_id": source, "split_id": place}
    return Document(id=f"{source}-{place}-{len(text)}", content=text, meta=meta)


def failing_on(word, error):
    def fault(batch):
        if any(word in chunk.text for window in batch.windows for chunk in window.chunks):
            raise error

    return fault


GIVEN = [chunk("good", "a"), chunk("bad", "b", 1), chunk("fine", "b"), chunk("good", "c")]


async def test_a_failure_names_its_source(call, fake):
    fake._fault = failing_on("bad", NonFiniteError())
    with pytest.raises(NonFiniteError, match="'b'") as caught:
        await call(made(), documents=GIVEN)
    assert caught.value.key == "b"


async def test_a_failure_of_a_batch_names_its_sources(call, fake):
    fake._fault = failing_on("bad", RateLimitError("too many requests", status_code=429))
    with pytest.raises(RateLimitError) as caught:
        await call(made(), documents=GIVEN)
    assert caught.value.__notes__ == ["Documents are counted by source: 'a' to 'c'."]


async def test_one_failure_does_not_cost_the_others_their_vectors(call, fake, caplog):
    fake._fault = failing_on("bad", DocumentTooLongError("is too long.", tokens=9, limit=8))
    with caplog.at_level(logging.WARNING):
        found = await call(made(raise_on_failure=False), documents=GIVEN)
    vectors = [document.embedding for document in found["documents"]]
    assert [vector is None for vector in vectors] == [False, True, True, False]
    (failed,) = found["meta"]["failed"]
    assert failed["source"] == "b"
    assert failed["documents"] == [GIVEN[2].id, GIVEN[1].id]
    assert failed["error"] == "DocumentTooLongError"
    assert failed["reason"] == "is too long."
    (record,) = caplog.records
    assert "1 of 3 sources were not embedded; the first is 'b'" in record.getMessage()


@pytest.mark.parametrize(
    "error",
    [
        RateLimitError("too many requests", status_code=429),
        AuthenticationError("no such key", status_code=401),
        ApiConnectionError("no answer"),
        NonFiniteError(),
        ResponseError("no rows"),
        DeviceMemoryError("no room"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_is_wrong_with_a_model_or_a_network_is_raised_though_lenient(call, fake, error):
    fake._fault = failing_on("bad", error)
    with pytest.raises(type(error)) as caught:
        await call(made(raise_on_failure=False), documents=GIVEN)
    assert caught.value.key in ("a", "b")


async def test_a_key_that_is_refused_is_raised_though_no_source_is_good(call, fake):
    fake._fault = failing_on("d", AuthenticationError("no such key", status_code=401))
    given = [chunk("bad \ud800", "a"), chunk("good", "b")]
    with pytest.raises(AuthenticationError):
        await call(made(raise_on_failure=False), documents=given)


async def test_input_that_cannot_be_embedded_is_a_failure_too(call, fake):
    given = [chunk("good", "a"), chunk("\ud800", "b", 1), chunk("fine", "b")]
    found = await call(made(raise_on_failure=False), documents=given)
    assert [document.embedding is None for document in found["documents"]] == [False, True, True]
    assert [document.meta["context_size"] for document in found["documents"]] == [1, 2, 2]
    (failed,) = found["meta"]["failed"]
    assert failed["error"] == "InputError"
    assert failed["reason"].startswith("chunk 1: has a lone surrogate")


@pytest.mark.parametrize(
    ("settings", "bad", "reason"),
    [
        ({}, [chunk("x", "b", 0), chunk("y", "b", "one")], "split_id is a number"),
        ({}, [chunk("x", ["b"])], "is a list"),
        ({"missing_group": "error"}, [Document(content="x")], "has no meta"),
    ],
)
async def test_sources_that_cannot_be_put_together_are_failures_too(
    call, fake, settings, bad, reason
):
    given = [chunk("two", "a", 1), *bad, chunk("one", "a")]
    found = await call(made(raise_on_failure=False, **settings), documents=given)
    vectors = [document.embedding is None for document in found["documents"]]
    assert vectors == [False, *(True for _ in bad), False]
    (failed,) = found["meta"]["failed"]
    assert failed["documents"] == [document.id for document in bad]
    assert failed["source"] == ("b" if len(bad) > 1 else bad[0].id)
    assert failed["error"] == "InputError"
    assert reason in failed["reason"]
    assert [c.text for c in fake.windows[0].chunks] == ["one", "two"]


async def test_without_failures_the_list_is_empty(call, fake, caplog):
    found = await call(made(raise_on_failure=False), documents=GIVEN)
    assert found["meta"]["failed"] == []
    assert not caplog.records


async def test_all_input_is_checked_before_the_model_sees_any(call, fake):
    with pytest.raises(InputError, match="lone surrogate"):
        await call(made(), documents=[*GIVEN, chunk("\ud800", "z")])
    assert not fake.batches


@pytest.mark.parametrize("rows", [0, 1, 3])
async def test_a_reply_of_the_wrong_length_shifts_nothing(call, fake, rows):
    fake._fault = lambda batch: [np.zeros((rows, 16), np.int8) for _ in batch.windows]
    with pytest.raises(ResponseError):
        await call(made(), documents=[chunk("x", "a"), chunk("y", "a", 1)])


async def test_batches_keep_to_the_limits_of_the_backend(call, fake):
    fake.limits = Limits(batch_tokens=40, documents=3, concurrency=2)
    given = [chunk("two words", f"s{n}", p) for n in range(20) for p in range(4)]
    found = await call(made(), documents=given)
    assert all(document.embedding for document in found["documents"])
    assert max(len(batch.windows) for batch in fake.batches) <= 3
    assert len(fake.windows) == 20
    assert found["meta"]["usage"]["requests"] == len(fake.batches)


async def test_batches_are_under_way_together(fake, monkeypatch):
    fake.limits = Limits(batch_tokens=4, concurrency=3)
    fake._delay = 0.01
    under_way, most, original = [], [], fake.aembed

    async def counted(batch):
        under_way.append(batch)
        most.append(len(under_way))
        rows = await original(batch)
        under_way.remove(batch)
        return rows

    monkeypatch.setattr(fake, "aembed", counted)
    given = [chunk("four words of text", f"s{n}") for n in range(9)]
    found = await made().run_async(documents=given)
    assert all(document.embedding for document in found["documents"])
    assert max(most) == 3


def test_no_message_holds_a_text(fake, caplog):
    secret = "the-text-of-a-document"
    fake._fault = failing_on(secret, NonFiniteError())
    given = [chunk(secret, "a", 3), chunk(secret + "x", "a", 4)]
    with pytest.raises(NonFiniteError) as caught:
        made().run(given)
    fake._fault = failing_on(secret, InputError("cannot be read."))
    found = made(raise_on_failure=False).run([*given, chunk(" ", secret[:3])])
    told = [str(caught.value), repr(caught.value), str(found["meta"]), caplog.text]
    assert all(secret not in text for text in told)
