"""The model card's way to call the API, with another base URL and nothing else changed."""

import json
import os
import shutil
import subprocess

import pytest

COMMAND = """curl -X POST https://api.perplexity.ai/v1/contextualizedembeddings \\
  -H "Authorization: Bearer $PERPLEXITY_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "input": [
      ["Curiosity begins in childhood with endless questions about the world.", "As we grow."],
      ["The Curiosity rover explores Mars."]
    ],
    "model": "pplx-embed-context-v1-0.6b"
  }'"""


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_cards_curl_command_works_with_another_base_url(serve):
    server = serve(api_key="k")
    answer = subprocess.run(
        ["sh", "-c", COMMAND.replace("https://api.perplexity.ai", server.url)],
        env=os.environ | {"PERPLEXITY_API_KEY": "k"},
        capture_output=True,
        check=True,
        timeout=60,
    )
    got = json.loads(answer.stdout)
    assert [len(document["data"]) for document in got["data"]] == [2, 1]
    assert got["model"] == "pplx-embed-context-v1-0.6b"
