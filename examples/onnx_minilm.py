"""The same chunk in two documents: with context it has two vectors, without context one."""

import numpy as np

from ctxembed import Embedder

documents = [
    ["The company makes ropes.", "It was founded in 1897."],
    ["The lighthouse stands on a rock.", "It was founded in 1897."],
]

with (
    Embedder.open(model="minilm", normalize=True, context_weight=1.0) as contextual,
    Embedder.open(model="minilm", normalize=True, context_weight=0.0) as independent,
):
    for name, embedder in (("contextual", contextual), ("independent", independent)):
        first, second = embedder.embed_documents(documents)
        same = np.allclose(first[1], second[1])
        print(f"{name}: the same vector for both" if same else f"{name}: two vectors")
