"""OpenAI's own client against the server, with its defaults."""

import numpy as np
import pytest

openai = pytest.importorskip("openai")

from ctxembed import Embedder, Settings

PLAIN = "pplx-embed-v1-0.6b"
TEXTS = ["one text", "another"]


@pytest.mark.parametrize("options", [{}, {"encoding_format": "float"}, {"dimensions": 128}])
def test_its_defaults_work(serve, options):
    server = serve()
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:
        answer = client.embeddings.create(model=PLAIN, input=TEXTS, user="u", **options)
        alone = client.embeddings.create(model=PLAIN, input=TEXTS[0], **options)
    settings = Settings(encoding="float", dimensions=options.get("dimensions"))
    expected = Embedder(server.backend, settings).embed_queries(TEXTS)

    found = np.array([each.embedding for each in answer.data], np.float32)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.float32(alone.data[0].embedding), expected[0])
    assert answer.usage.prompt_tokens == 3


def test_it_says_what_is_wrong(serve):
    server = serve(api_key="right")
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="Invalid API key"),
    ):
        client.embeddings.create(model=PLAIN, input="a")
