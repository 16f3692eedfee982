"""`Call`: what one write to a store needs: its contexts, their rows, and the order of asking."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.documents import Document

from ctxembed import Array, Embedder, Settings, sibling_fingerprint
from langchain_ctxembed.precomputed_vectors import Replay
from langchain_ctxembed.registry import ContextRegistry, Kept
from langchain_ctxembed.siblings import Ungrouped, find_contexts


class Rows(Kept[Array]):
    """Rows of documents whose chunks come in several calls, the latest however large it is.

    Were it forgotten, every slice of it would embed the whole of it again.
    """

    newest_stays = True


class Call:
    """The chunks of one call, each to be given its row of a context that is embedded whole.

    Contexts that the call has only a part of are kept: more of them will be asked for.
    """

    def __init__(
        self,
        chunks: Sequence[Document],
        registry: ContextRegistry,
        ungrouped: Ungrouped,
        kept: Rows | None = None,
    ) -> None:
        self._texts = [chunk.page_content for chunk in chunks]
        self._contexts = find_contexts(chunks, registry, ungrouped)
        self._kept = Rows(0) if kept is None else kept
        documents = self._contexts.documents
        self._keys = {n: sibling_fingerprint(documents[n]) for n in self._contexts.partial}
        found = {number: self._kept.get(key) for number, key in self._keys.items()}
        self._rows = {number: rows for number, rows in found.items() if rows is not None}
        self._missing = [n for n in range(len(documents)) if n not in self._rows]

    def embed(self, embedder: Embedder) -> None:
        """Embed the contexts whose rows aren't at hand."""
        with self._contexts.located(self._missing):
            self._take(embedder.embed_documents(self._asked()))

    async def aembed(self, embedder: Embedder) -> None:
        """Like `embed`, without blocking the event loop."""
        with self._contexts.located(self._missing):
            self._take(await embedder.aembed_documents(self._asked()))

    def replay(self, settings: Settings, *, probes: bool = False) -> Replay:
        """Return the rows in the order of the chunks."""
        rows = [self._rows[number][index] for number, index in self._contexts.positions]
        return Replay(self._texts, rows, settings, probes=probes)

    def _asked(self) -> list[list[str]]:
        return [self._contexts.documents[number] for number in self._missing]

    def _take(self, arrays: Sequence[Array]) -> None:
        self._rows |= zip(self._missing, arrays, strict=True)
        for number, key in self._keys.items():
            self._kept.put(key, self._rows[number], self._rows[number].nbytes)
