"""For tests of bulk: documents, and what a directory holds of them."""

import json

import numpy as np
import pyarrow.dataset as ds

from ctxembed import Embedder
from ctxembed.testing import FakeBackend


def write_lines(path, documents):
    path.write_text("".join(f"{json.dumps(each)}\n" for each in documents))
    return path


def documents(count, start=0, version=0):
    """Documents of two chunks, each with text of its own."""
    return [
        {"id": f"d{n}", "chunks": [f"chunk {n} version {version}", f"other words {n % 7}"]}
        for n in range(start, start + count)
    ]


def contents(root):
    """The rows of a directory by (id, chunk_index), read as any program would."""
    table = ds.dataset(root / "data", format="parquet").to_table()
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    keys = zip(table["id"].to_pylist(), table["chunk_index"].to_pylist(), strict=True)
    values = zip(table["text"].to_pylist(), vectors.tolist(), strict=True)
    rows = list(zip(keys, values, strict=True))
    found = dict(rows)
    assert len(found) == len(rows), "a row is there twice"
    return found


def expected(given):
    """What a directory holds of documents."""
    made = Embedder(FakeBackend()).embed_documents([each["chunks"] for each in given])
    return {
        (each["id"], index): (text, np.asarray(row).tolist())
        for each, rows in zip(given, made, strict=True)
        for index, (text, row) in enumerate(zip(each["chunks"], rows, strict=True))
    }
