"""`document_events`: LlamaIndex's embedding events and callbacks, one pair per document."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.embedding import (
    EmbeddingEndEvent,
    EmbeddingStartEvent,
)

from ctxembed import InputError
from ctxembed.lazy import check_document

dispatcher = get_dispatcher(__name__)


class DocumentEvents:
    """The events of documents, each begun and ended on its own; `texts` are those of the nodes."""

    def __init__(
        self, model: BaseEmbedding, texts: Sequence[list[str]], callbacks: ExitStack
    ) -> None:
        self._model = model
        self._texts = texts
        self._payload = model.to_payload()
        self._callbacks = callbacks
        self._begun: dict[int, Any] = {}

    def begin(self, number: int) -> None:
        """Begin the events of a document."""
        dispatcher.event(EmbeddingStartEvent(model_dict=self._payload))
        started = self._model.callback_manager.event(
            CBEventType.EMBEDDING, payload={EventPayload.SERIALIZED: self._payload}
        )
        self._begun[number] = self._callbacks.enter_context(started)

    def end(self, number: int, vectors: list[list[float]]) -> None:
        """End the events of a document, with the vectors of its nodes."""
        chunks = self._texts[number]
        payload = {EventPayload.CHUNKS: chunks, EventPayload.EMBEDDINGS: vectors}
        self._begun.pop(number).on_end(payload=payload)
        dispatcher.event(EmbeddingEndEvent(chunks=chunks, embeddings=vectors))

    def begun(
        self, documents: Sequence[list[str]], empty: Literal["error", "zero"]
    ) -> Iterator[list[str]]:
        """Return the chunks of each document, whose events begin when it is read.

        All are checked first. Where one is refused the call fails, and so do the events of all.
        """
        try:
            for number, chunks in enumerate(documents):
                check_document(chunks, number, empty)
        except InputError:
            for number in range(len(documents)):
                self.begin(number)
            raise
        return self._reading(documents)

    def _reading(self, documents: Sequence[list[str]]) -> Iterator[list[str]]:
        for number, chunks in enumerate(documents):
            self.begin(number)
            yield chunks


@contextmanager
def document_events(model: BaseEmbedding, texts: Sequence[list[str]]) -> Iterator[DocumentEvents]:
    """Give the events of documents; where an error is raised, open callbacks end with it."""
    with ExitStack() as callbacks:
        yield DocumentEvents(model, texts, callbacks)
