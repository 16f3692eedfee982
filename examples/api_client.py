"""Embed documents over the API.

The key comes from PERPLEXITY_API_KEY, the address from PERPLEXITY_BASE_URL (without it,
the vendor's). `ctxembed serve --model minilm` on your own machine speaks the same language.
"""

import asyncio

from ctxembed import Embedder, RateLimitError

documents = [["The company makes ropes.", "It was founded in 1897."], ["A single chunk."]]


async def main() -> None:
    """Embed two documents in one request."""
    async with Embedder.open(backend="api", model="pplx-embed-context-v1-0.6b") as embedder:
        try:
            rows = await embedder.aembed_documents(documents)
        except RateLimitError as error:
            print(f"too many requests, try again in {error.retry_after} s")
            return
        print([array.shape for array in rows], f"{embedder.usage.requests} request")


asyncio.run(main())
