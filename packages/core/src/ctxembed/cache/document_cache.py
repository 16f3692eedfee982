"""`DocumentCache`: the documents of one recipe in a `VectorCache`.

Documents are found by their chunks that are not blank, in order, and by everything else that
decides their rows. Names of models, paths, prefixes of queries, batches and the length of stored
vectors are no part of it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any

from ctxembed.backends.identity import ModelIdentity
from ctxembed.cache import VectorCache
from ctxembed.cache.entry import CachedDocument, from_bytes, to_bytes
from ctxembed.documents import sibling_fingerprint
from ctxembed.encoding import StoredForm
from ctxembed.fingerprint import FORMAT_VERSION
from ctxembed.models import Quantizer
from ctxembed.windows import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentCache:
    """Finds and keeps the documents of one recipe.

    `context` stands for everything that decides the rows of a document with several chunks, and
    `alone` for what decides those of a document with one: a chunk alone has no context.
    """

    store: VectorCache = field(repr=False)
    form: StoredForm
    width: int
    context: bytes
    alone: bytes

    def key(self, chunks: Sequence[str]) -> bytes:
        """Return the key of a document, given the texts of its chunks that are not blank."""
        prefix = self.alone if len(chunks) == 1 else self.context
        return blake2b(prefix + sibling_fingerprint(chunks).encode(), digest_size=16).digest()

    def find(self, keys: Iterable[bytes]) -> dict[bytes, CachedDocument]:
        """Return the documents that are there and sound."""
        read = self.store.get([*dict.fromkeys(keys)])
        found = {key: from_bytes(key, data, self.form, self.width) for key, data in read.items()}
        return {key: document for key, document in found.items() if document is not None}

    def keep(self, documents: Mapping[bytes, CachedDocument]) -> None:
        """Keep documents under their keys."""
        if documents:
            self.store.put({k: to_bytes(k, each, self.form) for k, each in documents.items()})


def document_values(
    identity: ModelIdentity,
    layout: Layout,
    *,
    form: StoredForm,
    quantizer: Quantizer,
    dimensions: int,
    prefix: str,
) -> dict[str, Any]:
    """Return everything but its chunks that decides the rows of a document with several chunks."""
    model = asdict(identity)
    counter = model.pop("counter")
    context = None
    if layout.context_weight:
        context = {
            "window_tokens": layout.window_tokens,
            "overlap_tokens": layout.overlap_tokens,
            "separator_tokens": layout.separator_tokens,
            "context_weight": layout.context_weight,
            "counter": counter,
        }
    return {
        "format": FORMAT_VERSION,
        "model": model,
        "prefix": prefix,
        "max_tokens": layout.max_tokens,
        "rows": form,
        "quantizer": quantizer,
        "dimensions": dimensions,
        "context": context,
        "neighbours": layout.neighbour_weight,
    }


def document_cache(store: VectorCache, values: Mapping[str, Any]) -> DocumentCache:
    """Return the cache of the documents that `document_values` describes."""
    form: StoredForm = values["rows"]
    dimensions = values["dimensions"]
    return DocumentCache(
        store=store,
        form=form,
        width=-(-dimensions // 8) if form == "bits" else dimensions,
        context=_digest(values),
        alone=_digest({**values, "context": None, "neighbours": 0.0}),
    )


def _digest(values: Mapping[str, object]) -> bytes:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return blake2b(canonical.encode(), digest_size=16).digest()
