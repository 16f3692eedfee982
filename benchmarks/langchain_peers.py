"""How many stored vectors are contextual, and how many independent, by store, way in and embedder.

Run `python benchmarks/langchain_peers.py` where langchain-ctxembed, ctxembed[torch] and the stores
are installed. It prints and writes a table. Every vector is compared with that of its chunk among
its siblings, and with that of its chunk alone. The weights are random, in the public layout, so
that a vector that was made in another way cannot look alike by chance.
"""

import argparse
import json
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "plugins"))

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import VectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter
from pplx import write_pplx
from qwen import tokenizer_json
from vector_stores import KINDS, Memory, Postgres

from ctxembed import Embedder
from langchain_ctxembed import (
    ContextualEmbeddings,
    ContextualTextSplitter,
    ContextualVectorStore,
    context_key,
)

RESULTS = Path(__file__).parent / "results" / "langchain_peers.md"
ALIKE = 0.999
LINES = RecursiveCharacterTextSplitter(
    separators=["\n"], keep_separator=False, chunk_size=1, chunk_overlap=0
)


def parents() -> list[Document]:
    """Three documents of 5 chunks with chunks in common and repeated, and one of 70."""
    texts = {
        "a": ["Alpha is first.", "Terms apply.", "It grew.", "Terms apply.", "It ended."],
        "b": ["Beta is second.", "Terms apply.", "It shrank.", "It paused.", "It ended."],
        "long": [f"Row {number} of the table." for number in range(70)],
        "c": ["Gamma is third.", "It grew.", "It grew.", "It grew.", "Terms apply."],
    }
    return [
        Document(page_content="\n".join(lines), metadata={"source": source})
        for source, lines in texts.items()
    ]


@dataclass
class Peer:
    """An embedder as its users would use it: how to split, and what to put around a store."""

    name: str
    embeddings: Embeddings
    contextual: bool = False

    def split(self, documents: list[Document]) -> list[Document]:
        """Return chunks; a plain splitter's get their position, or `index()` would drop repeats."""
        if self.contextual:
            return ContextualTextSplitter(LINES, embeddings=self.embeddings).split_documents(
                documents
            )
        return [
            Document(chunk.page_content, metadata=chunk.metadata | {"context_index": number})
            for document in documents
            for number, chunk in enumerate(LINES.split_documents([document]))
        ]

    def wrap(self, store: VectorStore) -> VectorStore:
        """Return what chunks are added to."""
        return ContextualVectorStore(store) if self.contextual else store

    def build(self, kind: Memory, chunks: list[Document]) -> VectorStore:
        """Return a store made by `from_documents`."""
        ids = [context_key(chunk) for chunk in chunks]
        if not self.contextual:
            return kind.cls.from_documents(chunks, self.embeddings, ids=ids, **kind.options)
        return ContextualVectorStore.from_documents(
            chunks, self.embeddings, ids=ids, store_cls=kind.cls, **kind.options
        ).store


class WholeCall(Embeddings):
    """The texts of a call are one document: langchain-voyageai up to 0.3.3, all Jina wrappers."""

    def __init__(self, embeddings: ContextualEmbeddings) -> None:
        self._embeddings = embeddings

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return rows that see the whole call."""
        return self._embeddings.embed_contexts([texts])[0]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query."""
        return self._embeddings.embed_query(text)


class EachAlone(WholeCall):
    """Every text is a document of its own: langchain-voyageai from 0.4.0."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return rows that see nothing else."""
        return [self._embeddings.embed_contexts([[text]])[0][0] for text in texts]


@contextmanager
def stand_in(checkpoint: str) -> Iterator[str]:
    """Serve the public wire of the standard embeddings endpoint on loopback; yield its address."""
    embedder = Embedder.open(model=checkpoint)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            rows = embedder.embed_documents([[text] for text in body["input"]])
            data = [
                {"object": "embedding", "index": n, "embedding": b64encode(row.tobytes()).decode()}
                for n, row in enumerate(rows)
            ]
            reply = json.dumps({"object": "list", "model": body["model"], "data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def add(peer: Peer, kind: Memory, chunks: list[Document]) -> VectorStore:
    store = kind.open(peer.embeddings, aio=False)
    peer.wrap(store).add_documents(chunks, ids=[context_key(chunk) for chunk in chunks])
    return store


def add_by_document(peer: Peer, kind: Memory, chunks: list[Document]) -> VectorStore:
    store = kind.open(peer.embeddings, aio=False)
    for source in dict.fromkeys(chunk.metadata["source"] for chunk in chunks):
        part = [chunk for chunk in chunks if chunk.metadata["source"] == source]
        peer.wrap(store).add_documents(part, ids=[context_key(chunk) for chunk in part])
    return store


def from_documents(peer: Peer, kind: Memory, chunks: list[Document]) -> VectorStore:
    return peer.build(kind, chunks)


def by_index(batch_size: int, *, edit: bool = False) -> Callable[..., VectorStore]:
    def run(peer: Peer, kind: Memory, chunks: list[Document]) -> VectorStore:
        store = kind.open(peer.embeddings, aio=False)
        records = InMemoryRecordManager("chunks")
        records.create_schema()
        versions = [chunks]
        if edit:
            before = parents()
            before[0].page_content = before[0].page_content.replace("It grew.", "It fell.")
            versions.insert(0, peer.split(before))
        for given in versions:
            index(
                given,
                records,
                peer.wrap(store),
                cleanup="scoped_full",
                source_id_key="source",
                key_encoder=context_key,
                batch_size=batch_size,
            )
        return store

    return run


WAYS = {
    "`add_documents`, all at once": add,
    "`add_documents`, one document per call": add_by_document,
    "`from_documents`": from_documents,
    "`index`, batches of 100": by_index(100),
    "`index`, batches of 4": by_index(4),
    "`index` after editing 1 of 5 chunks": by_index(100, edit=True),
}


Truth = dict[tuple[str, int], np.ndarray]


def truth(embedder: Embedder, *, contextual: bool) -> Truth:
    """Return the vector of every chunk, among its siblings or alone."""
    found = {}
    for parent in parents():
        lines = parent.page_content.split("\n")
        arrays = embedder.embed_documents([lines] if contextual else [[line] for line in lines])
        for number, row in enumerate(np.concatenate(arrays)):
            found[parent.metadata["source"], number] = row
    return found


def right(rows: list[tuple[dict, object]], truth: Truth) -> int:
    """Return how many stored vectors are those that their chunks have in the truth."""
    count = 0
    for metadata, given in rows:
        vector = np.array(given, np.float32)
        place = metadata["source"], int(metadata["context_index"])
        count += float(vector @ truth[place]) / float(np.linalg.norm(vector)) >= ALIKE
    return count


def measure(
    peers: list[Peer], kinds: list[str], contextual: Truth, alone: Truth
) -> Iterator[list[str]]:
    """Yield the lines of the table."""
    for peer in peers:
        for way, run in WAYS.items():
            cells = []
            for name in kinds:
                with tempfile.TemporaryDirectory() as folder:
                    kind = KINDS[name][0](Path(folder))
                    store = run(peer, kind, peer.split(parents()))
                    rows = kind.rows(store)
                    kind.close(store)
                    cells.append(f"{right(rows, contextual)} + {right(rows, alone)} / {len(rows)}")
            print(peer.name, way, *cells, flush=True)
            yield [peer.name, way, *cells]


def main() -> None:
    """Measure what is installed, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    kinds = [name for name, (_, needs) in KINDS.items() if all(map(find_spec, needs))]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        checkpoint = str(write_pplx(folder / "tiny", tokenizer_json()))
        contextual = ContextualEmbeddings(model=checkpoint)
        peers = [
            Peer("whole call is one document", WholeCall(contextual)),
            Peer("each text alone", EachAlone(contextual)),
            Peer("langchain-ctxembed", contextual, contextual=True),
        ]
        if find_spec("langchain_perplexity"):
            peers.insert(0, official(stack.enter_context(stand_in(checkpoint))))
        if any(issubclass(KINDS[name][0], Postgres) for name in kinds):
            stack.enter_context(Postgres.serve())
        truths = [truth(contextual.embedder, contextual=known) for known in (True, False)]
        table = list(measure(peers, kinds, *truths))
    options.out.write_text(page(kinds, table), encoding="utf-8")


def official(address: str) -> Peer:
    """Return langchain-perplexity, talking to a stand-in."""
    import os

    os.environ["PERPLEXITY_BASE_URL"] = address
    from langchain_perplexity import PerplexityEmbeddings

    return Peer(
        "langchain-perplexity", PerplexityEmbeddings(model="pplx-embed-v1-0.6b", api_key="none")
    )


def page(kinds: list[str], table: list[list[str]]) -> str:
    """Return the page of results."""
    packages = sorted(
        {need.replace("_", "-") for kind in kinds for need in KINDS[kind][1]} - {"faiss"}
    )
    versions = ", ".join(
        f"{name} {version(name)}"
        for name in ["langchain-core", "langchain-perplexity", *packages, "faiss-cpu"]
        if find_spec(name.replace("-cpu", "").replace("-", "_"))
    )
    lines = [
        "# LangChain: which vectors are contextual, by store and way in",
        "",
        "Cells: vectors of the chunk among its siblings + vectors of the chunk alone (cosine at",
        f"least {ALIKE}) / stored vectors. The rest have seen something other than their document.",
        "85 chunks: three documents of 5 and one of 70, with chunks repeated within and",
        "across documents. Every embedder has the same weights behind it (random, in the public",
        "layout); how it passes texts to them is what differs.",
        "",
        "| " + " | ".join(["embedder", "way in", *kinds]) + " |",
        "| " + " | ".join(["---"] * (len(kinds) + 2)) + " |",
        *("| " + " | ".join(line) + " |" for line in table),
        "",
        "- *langchain-perplexity*: the official class, with a stand-in on loopback that serves the",
        "  standard endpoint. It has no way to the contextual one.",
        "- *whole call is one document*: what langchain-voyageai does up to 0.3.3. *Each text",
        "  alone*: what it does from 0.4.0. Re-enacted over the same weights.",
        "- The peers' chunks have their position in the metadata. Plain splitters do not write it,",
        "  and without it `index()` drops repeated chunks.",
        "",
        f"Written by `python benchmarks/langchain_peers.py` with {versions}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
