"""`embedding_events`: LlamaIndex's embedding events and callbacks, one pair per document."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.embedding import (
    EmbeddingEndEvent,
    EmbeddingStartEvent,
)

dispatcher = get_dispatcher(__name__)

End = Callable[[Sequence[Sequence[list[float]]]], None]
"""Takes the vectors of all documents and ends their events."""


@contextmanager
def embedding_events(model: BaseEmbedding, documents: Sequence[list[str]]) -> Iterator[End]:
    """Start the events of all documents, and give a function that ends them.

    All begin together, because documents share model calls. Where an error is raised, callbacks end
    with it.
    """
    payload = model.to_payload()
    with ExitStack() as stack:
        events = []
        for _ in documents:
            dispatcher.event(EmbeddingStartEvent(model_dict=payload))
            started = model.callback_manager.event(
                CBEventType.EMBEDDING, payload={EventPayload.SERIALIZED: payload}
            )
            events.append(stack.enter_context(started))

        def end(vectors: Sequence[Sequence[list[float]]]) -> None:
            for event, chunks, rows in zip(events, documents, vectors, strict=True):
                embeddings = list(rows)
                event.on_end(
                    payload={EventPayload.CHUNKS: chunks, EventPayload.EMBEDDINGS: embeddings}
                )
                dispatcher.event(EmbeddingEndEvent(chunks=chunks, embeddings=embeddings))

        yield end
