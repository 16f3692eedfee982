"""The model cards' calls of the API, byte for byte, with another base URL and no other change."""

import base64
import json
import shutil
import subprocess

import numpy as np
import pytest

from ctxembed import Embedder
from ctxembed.testing import FakeBackend

DOCUMENTS = [
    [
        "Curiosity begins in childhood with endless questions about the world.",
        "As we grow, curiosity drives us to explore new ideas and challenge assumptions.",
        "Scientific breakthroughs often start with a simple curious question.",
    ],
    [
        "The curiosity rover explores Mars, searching for signs of ancient life.",
        "Each discovery on Mars sparks new questions about our place in the universe.",
    ],
]
CONTEXTUAL = """curl -X POST https://api.perplexity.ai/v1/contextualizedembeddings \\
  -H "Authorization: Bearer YOUR_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "input": [
      [
        "Curiosity begins in childhood with endless questions about the world.",
        "As we grow, curiosity drives us to explore new ideas and challenge assumptions.",
        "Scientific breakthroughs often start with a simple curious question."
      ],
      [
        "The curiosity rover explores Mars, searching for signs of ancient life.",
        "Each discovery on Mars sparks new questions about our place in the universe."
      ]
    ],
    "model": "pplx-embed-context-v1-4b"
  }'"""
TEXTS = [
    "Scientists explore the universe driven by curiosity.",
    "Children learn through curious exploration.",
    "Historical discoveries began with curious questions.",
    "Animals use curiosity to adapt and survive.",
    "Philosophy examines the nature of curiosity.",
]
INDEPENDENT = """curl -X POST https://api.perplexity.ai/v1/embeddings \\
  -H "Authorization: Bearer YOUR_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "input": [
      "Scientists explore the universe driven by curiosity.",
      "Children learn through curious exploration.",
      "Historical discoveries began with curious questions.",
      "Animals use curiosity to adapt and survive.",
      "Philosophy examines the nature of curiosity."
    ],
    "model": "pplx-embed-v1-0.6b"
  }'"""

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def answer_of(command, server):
    command = command.replace("https://api.perplexity.ai", server.url)
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=True, timeout=60)
    return json.loads(done.stdout)


def codes(item):
    return np.frombuffer(base64.b64decode(item["embedding"], validate=True), np.int8)


@pytest.mark.parametrize("key", [None, "YOUR_API_KEY"])
def test_the_contextual_cards_command_gets_the_vectors_of_its_documents(serve, key):
    server = serve(api_key=key)
    got = answer_of(CONTEXTUAL, server)

    assert got["object"] == "list"
    assert got["model"] == "pplx-embed-context-v1-4b"
    assert [document["index"] for document in got["data"]] == [0, 1]
    expected = Embedder(FakeBackend(server.backend.spec)).embed_documents(DOCUMENTS)
    for document, rows in zip(got["data"], expected, strict=True):
        assert [chunk["index"] for chunk in document["data"]] == list(range(len(rows)))
        np.testing.assert_array_equal([codes(chunk) for chunk in document["data"]], rows)


def test_the_other_cards_command_gets_the_vectors_of_its_texts(serve):
    server = serve(api_key="YOUR_API_KEY")
    got = answer_of(INDEPENDENT, server)

    assert got["model"] == "pplx-embed-v1-0.6b"
    assert [item["index"] for item in got["data"]] == [0, 1, 2, 3, 4]
    expected = Embedder(FakeBackend(server.backend.spec)).embed_queries(TEXTS)
    np.testing.assert_array_equal([codes(item) for item in got["data"]], expected)


def test_another_key_is_refused(serve):
    got = answer_of(CONTEXTUAL, serve(api_key="another"))

    assert got["error"]["type"] == "invalid_api_key"
