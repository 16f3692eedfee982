"""sentence-transformers: token embeddings of whole documents, pooled here, or plain `encode`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from engines.batches import SEPARATOR, Documents, codes, joined, spans
from engines.export import plain


def load(checkpoint: Path, way: str) -> Callable[[Documents], list[np.ndarray]]:
    """Return the way from documents to codes."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    transformer = Transformer(
        str(plain(checkpoint)), tokenizer_args={"pad_token": SEPARATOR, "padding_side": "right"}
    )
    transformer.max_seq_length = 32_768
    pooling = Pooling(transformer.get_word_embedding_dimension(), "mean")
    model = SentenceTransformer(modules=[transformer, pooling], device="cpu")
    separator = transformer.tokenizer.convert_tokens_to_ids(SEPARATOR)

    def contextual(documents: Documents) -> list[np.ndarray]:
        texts = joined(documents)
        states = model.encode(texts, output_value="token_embeddings", convert_to_numpy=False)
        ids = [np.array(each) for each in transformer.tokenizer(texts)["input_ids"]]
        return [
            codes(each.numpy(), spans(mine, separator))
            for each, mine in zip(states, ids, strict=True)
        ]

    def alone(documents: Documents) -> list[np.ndarray]:
        chunks = [chunk for document in documents for chunk in document]
        rows = np.round(np.tanh(model.encode(chunks)) * 127).astype(np.int8)
        return np.split(rows, np.cumsum([len(each) for each in documents])[:-1])

    return {"contextual": contextual, "alone": alone}[way]
