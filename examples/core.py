"""Embed two documents, every chunk with the other chunks of its document, and ask a question."""

from ctxembed import Embedder

documents = [
    ["Grace Hopper was born in New York in 1906.", "She wrote the first compiler."],
    ["The harbour freezes in January.", "Ships wait outside until it opens."],
]

with Embedder.open(model="minilm", normalize=True) as embedder:
    rows = embedder.embed_documents(documents)
    query = embedder.embed_query("Who wrote the first compiler?")

best = max(
    (
        (float(row @ query), chunk)
        for document, array in zip(documents, rows, strict=True)
        for chunk, row in zip(document, array, strict=True)
    ),
)
print(best[1])
