"""Chunks without company: where windows are too short for two, a log line says so."""

import asyncio
import logging

import pytest

from ctxembed import Embedder, Settings
from ctxembed.testing import FakeBackend

LARGE = ["one two three four five six seven"] * 5


@pytest.fixture
def told(caplog):
    def messages(embed, **settings) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "ctxembed"):
            embed(Embedder(FakeBackend(), Settings(**settings)))
        return [record.getMessage() for record in caplog.records if record.name == "ctxembed"]

    return messages


def test_chunks_that_fill_their_window_are_told_once(told):
    def embed(embedder):
        for _ in range(3):
            embedder.embed_documents([LARGE, ["alone"], LARGE])
        asyncio.run(embedder.aembed_documents([LARGE]))

    (message,) = told(embed, window_tokens=10)

    assert message.startswith("10 of 10 chunks have no sibling in their window of 10 tokens")
    assert "seven" not in message


def test_a_few_chunks_without_company_are_not_told(told):
    assert not told(lambda e: e.embed_documents([["a", "b", "c", LARGE[0]]]), window_tokens=8)


@pytest.mark.parametrize(
    "embed",
    [
        lambda embedder: embedder.embed_documents([LARGE]),
        lambda embedder: embedder.embed_documents([["alone"], ["alone too"]]),
        lambda embedder: embedder.embed_queries(LARGE),
        lambda embedder: list(embedder.stream([[], ["", "a"]], errors="return")),
    ],
)
def test_documents_with_company_or_without_siblings_are_not_told(told, embed):
    assert not told(embed)


@pytest.mark.parametrize("only", [LARGE[:1], ["one two three"]])
def test_a_document_that_became_one_large_chunk_counts(told, only):
    def embed(embedder):
        embedder.embed_documents([only, ["short"], ["short", "too"]])
        embedder.embed_documents([only, only])

    (message,) = told(embed, window_tokens=8)

    assert message.startswith("2 of 2 chunks have no sibling in their window of 8 tokens")
    assert message.endswith("up to 2 tokens, or set another window_tokens.")


def test_independent_vectors_are_what_was_asked_for(told):
    assert not told(lambda e: e.embed_documents([LARGE]), window_tokens=10, context_weight=0)
