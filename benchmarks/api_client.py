"""The API client against the official library, on loopback with a fixed latency.

    python benchmarks/api_client.py [--latency 0.2] [--documents 2000] [--repeat 5]

A server in a process of its own answers every request after LATENCY seconds, plus its tokens at
400,000 per second, without limiting anybody. The same documents go through (a) the official
library, 32 documents per request, one request at a time, (b) its asynchronous client, with code
around it that keeps 64 requests under way, and (c) this client. All decode the answers. Each run
has a process of its own, so that no library pays for the objects of another. None of this says how
fast the real API is.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import multiprocessing
import os
import random
import statistics
import time
from pathlib import Path

import msgspec
import numpy as np
from machine import describe

MODEL = "pplx-embed-context-v1-0.6b"
WIDTH = 1024
SERVER_RATE = 400_000
WORDS = [
    "river",
    "mountain",
    "the",
    "of",
    "and",
    "company",
    "quarter",
    "embedding",
    "window",
    "second",
    "it",
    "grew",
]
RESULT = Path(__file__).parent / "results" / "api_client.md"


async def serve(latency: float, port, stats) -> None:
    """Answer requests; one row for all, so that the server costs as little as it can."""
    row = {"embedding": base64.b64encode(bytes(range(256)) * (WIDTH // 256)).decode()}

    async def answer(reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").lower()
                length = int(head.split("content-length:")[1].split("\r\n")[0])
                documents = msgspec.json.decode(await reader.readexactly(length))["input"]
                tokens = sum(chunk.count(" ") + 1 for document in documents for chunk in document)
                with stats.get_lock():
                    stats[0] += 1
                    stats[1] += tokens
                await asyncio.sleep(latency + tokens / SERVER_RATE)
                data = [
                    {"index": n, "data": [row | {"index": c} for c in range(len(document))]}
                    for n, document in enumerate(documents)
                ]
                body = msgspec.json.encode({"object": "list", "data": data, "usage": {}})
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                    b"content-length: %d\r\n\r\n" % len(body)
                )
                writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=2**24)
    port.value = server.sockets[0].getsockname()[1]
    async with server:
        await server.serve_forever()


def run_server(latency, port, stats) -> None:
    asyncio.run(serve(latency, port, stats))


def mixed_documents(count: int) -> list[list[str]]:
    """Return documents of 1 to 12 chunks of 20 to 100 words."""
    rng = random.Random(7)
    return [
        [" ".join(rng.choices(WORDS, k=rng.randint(20, 100))) for _ in range(rng.randint(1, 12))]
        for _ in range(count)
    ]


def decoded(reply) -> list[np.ndarray]:
    return [
        np.stack([np.frombuffer(base64.b64decode(c.embedding), np.int8) for c in d.data])
        for d in reply.data
    ]


def slices(documents, size):
    return [documents[n : n + size] for n in range(0, len(documents), size)]


def official(documents) -> list[np.ndarray]:
    from perplexity import Perplexity

    with Perplexity() as client:
        return [
            rows
            for part in slices(documents, 32)
            for rows in decoded(client.contextualized_embeddings.create(input=part, model=MODEL))
        ]


def official_async(documents) -> list[np.ndarray]:
    from perplexity import AsyncPerplexity

    async def run():
        gate = asyncio.Semaphore(64)
        async with AsyncPerplexity() as client:

            async def one(part):
                async with gate:
                    return decoded(
                        await client.contextualized_embeddings.create(input=part, model=MODEL)
                    )

            parts = await asyncio.gather(*(one(part) for part in slices(documents, 32)))
        return [rows for part in parts for rows in part]

    return asyncio.run(run())


def ours(documents) -> list[np.ndarray]:
    from ctxembed import Embedder

    with Embedder.open(model=MODEL, backend="api") as embedder:
        return embedder.embed_documents(documents)


WAYS = {
    "official library, 32 documents per request, one at a time": official,
    "official asynchronous library, 32 documents per request, 64 at once": official_async,
    "ctxembed": ours,
}


def run_once(name, count, url, stats, seconds) -> None:
    """Time one way in this process, after one document, which imports what the way needs."""
    os.environ["PERPLEXITY_BASE_URL"] = url
    os.environ["PERPLEXITY_API_KEY"] = "k"
    documents = mixed_documents(count)
    WAYS[name](documents[:1])
    stats[0] = stats[1] = 0
    began = time.perf_counter()
    rows = WAYS[name](documents)
    seconds.value = time.perf_counter() - began
    assert [len(d) for d in documents] == [len(r) for r in rows]


def measure(context, options, url, stats) -> dict[str, list[tuple[float, int, int]]]:
    """Return seconds, requests and tokens of every run, each in a process of its own, in turn."""
    found: dict[str, list[tuple[float, int, int]]] = {name: [] for name in WAYS}
    for _ in range(options.repeat):
        for name, runs in found.items():
            seconds = context.Value("d", 0.0)
            arguments = (name, options.documents, url, stats, seconds)
            process = context.Process(target=run_once, args=arguments)
            process.start()
            process.join(600)
            if process.exitcode != 0:
                raise SystemExit(f"{name} ended with {process.exitcode}")
            runs.append((seconds.value, stats[0], stats[1]))
    return found


def table(options, found) -> str:
    """Return what was measured, as Markdown."""
    documents, facts = mixed_documents(options.documents), options.machine
    best = {name: min(runs) for name, runs in found.items()}
    first = next(iter(best.values()))[0]
    chunks, words = sum(map(len, documents)), best["ctxembed"][2]
    head = f"""# The API client on loopback

{len(documents):,} documents, {chunks:,} chunks, {words:,} words (a word is a token to the server);
{options.latency * 1000:.0f} ms per request plus {SERVER_RATE:,} tokens per second, any number of
requests at once; best and median of {options.repeat} runs each, taken in turn, each in a process
of its own.

{facts["Processor"]}, {facts["Versions"]}, {facts["Date"]};
load before the run {facts["Load before the run"]}; `python benchmarks/api_client.py`.

| way | requests | tokens per request | seconds | median | times the first |
| --- | --- | --- | --- | --- | --- |
"""
    rows = []
    for name, (took, sent, words) in best.items():
        middle = statistics.median(seconds for seconds, _, _ in found[name])
        rows.append(
            f"| {name} | {sent} | {words // sent:,} | {took:.2f} | {middle:.2f} "
            f"| {first / took:.1f} |\n"
        )
    return head + "".join(rows)


def main() -> None:
    """Start the server, run the three ways, print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    options.machine = describe(("numpy",))
    context = multiprocessing.get_context("spawn")
    port, stats = context.Value("i", 0), context.Array("q", 2)
    server = context.Process(target=run_server, args=(options.latency, port, stats), daemon=True)
    server.start()
    while not port.value:
        time.sleep(0.01)
    found = measure(context, options, f"http://127.0.0.1:{port.value}", stats)
    text = table(options, found)
    server.terminate()
    print(text)
    if not options.no_write:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(text)


if __name__ == "__main__":
    main()
