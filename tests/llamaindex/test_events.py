"""Events, callbacks and spans: one pair per document, as a stock embedding has them."""

import pytest
from llama_index.core.callbacks import (
    CallbackManager,
    CBEventType,
    EventPayload,
    LlamaDebugHandler,
)
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.embedding import (
    EmbeddingEndEvent,
    EmbeddingStartEvent,
)
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

from ctxembed import InputError
from llama_index.embeddings.ctxembed import ContextualEmbedding


def node(text, key=None, start=None, **metadata):
    source = {} if key is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=key)}
    return TextNode(text=text, relationships=source, start_char_idx=start, metadata=metadata)


class Recorder(BaseEventHandler):
    events: list

    @classmethod
    def class_name(cls):
        return "Recorder"

    def handle(self, event, **_):
        if isinstance(event, EmbeddingStartEvent | EmbeddingEndEvent):
            self.events.append(event)


@pytest.fixture
def recorder():
    dispatcher = get_dispatcher()
    handler = Recorder(events=[])
    dispatcher.add_event_handler(handler)
    yield handler
    dispatcher.event_handlers.remove(handler)


@pytest.mark.parametrize("is_async", [False, True])
async def test_every_document_has_one_pair_of_events_with_the_stock_payloads(
    fake, recorder, is_async
):
    debug = LlamaDebugHandler(print_trace_on_end=False)
    given = ContextualEmbedding(
        model_name="fake",
        api_key="pplx-secret-2",
        metadata_once=True,
        callback_manager=CallbackManager([debug]),
    )
    nodes = [node("a", "x", 0, t="T"), node("b", "y", 0), node("c", "x", 1, t="T")]
    await given.acall(nodes) if is_async else given(nodes)

    starts = [each for each in recorder.events if isinstance(each, EmbeddingStartEvent)]
    ends = [each for each in recorder.events if isinstance(each, EmbeddingEndEvent)]
    assert [each.model_dict for each in starts] == [given.to_payload()] * 2
    assert [each.chunks for each in ends] == [["a", "c"], ["b"]]
    assert ends[0].embeddings == [nodes[0].embedding, nodes[2].embedding]
    pairs = debug.get_event_pairs(CBEventType.EMBEDDING)
    assert [pair[0].payload[EventPayload.SERIALIZED] for pair in pairs] == [given.to_payload()] * 2
    assert [pair[1].payload[EventPayload.CHUNKS] for pair in pairs] == [["a", "c"], ["b"]]
    assert pairs[1][1].payload[EventPayload.EMBEDDINGS] == [nodes[1].embedding]
    seen = [*recorder.events, *(event.payload for pair in pairs for event in pair)]
    assert "secret" not in repr(seen)


@pytest.mark.parametrize("is_async", [False, True])
async def test_events_and_callbacks_have_the_shape_of_those_of_a_stock_embedding(
    fake, recorder, is_async
):
    shapes = []
    for made in (MockEmbedding, ContextualEmbedding):
        debug = LlamaDebugHandler(print_trace_on_end=False)
        arguments = {"embed_dim": 4} if made is MockEmbedding else {"model_name": "fake"}
        given = made(callback_manager=CallbackManager([debug]), **arguments)
        nodes = [node("a", "x", 0), node("b", "x", 1)]
        await given.acall(nodes) if is_async else given(nodes)
        events = [
            (type(each), sorted(each.model_dump(exclude={"tags"}))) for each in recorder.events
        ]
        ((start, end),) = debug.get_event_pairs(CBEventType.EMBEDDING)
        keys = sorted(start.payload[EventPayload.SERIALIZED])
        shapes.append((events, sorted(start.payload), keys, sorted(end.payload)))
        assert end.payload[EventPayload.CHUNKS] == ["a", "b"]
        recorder.events.clear()
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("is_async", [False, True])
async def test_every_call_is_a_span(fake, is_async):
    handler = SimpleSpanHandler()
    get_dispatcher().add_span_handler(handler)
    given = ContextualEmbedding(model_name="fake")
    try:
        await given.acall([node("a")]) if is_async else given([node("a")])
    finally:
        get_dispatcher().span_handlers.remove(handler)
    (span,) = handler.completed_spans
    assert span.id_.startswith(f"ContextualEmbedding.{'acall' if is_async else '__call__'}-")


def test_a_failed_call_ends_its_callbacks(fake):
    debug = LlamaDebugHandler(print_trace_on_end=False)
    given = ContextualEmbedding(model_name="fake", callback_manager=CallbackManager([debug]))
    with pytest.raises(InputError):
        given([node("a", "x"), node("", "y")])
    pairs = debug.get_event_pairs(CBEventType.EMBEDDING)
    assert [len(pair) for pair in pairs] == [2, 2]
    assert any(EventPayload.EXCEPTION in (pair[1].payload or {}) for pair in pairs)
