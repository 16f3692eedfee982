"""Embed a document with a checkpoint in safetensors: a folder, or the id of a model on the hub."""

import sys

from ctxembed import Embedder

chunks = ["Rivers flow.", "They rise in the mountains.", "Lakes do not flow."]
model = sys.argv[1] if len(sys.argv) > 1 else "perplexity-ai/pplx-embed-context-v1-0.6b"

with Embedder.open(model=model, backend="torch") as embedder:
    (rows,) = embedder.embed_documents([chunks])

print(f"{len(rows)} rows of {rows.shape[1]} dimensions, {rows.dtype}")
