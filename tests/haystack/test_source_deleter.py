"""Sources that are gone leave the store, and no other."""

import pytest
from haystack import Document
from haystack.document_stores.in_memory import InMemoryDocumentStore

from ctxembed.errors import ConfigurationError
from haystack_integrations.components.embedders.ctxembed import ContextualSourceDeleter


@pytest.fixture
def store():
    found = InMemoryDocumentStore()
    found.write_documents(
        [
            Document(content=f"{name} {n}", meta={"source_id": name, "file_path": f"d/{name}"})
            for name in "abc"
            for n in range(2)
        ]
    )
    return found


@pytest.mark.parametrize("key", ["source_id", "file_path"])
async def test_all_chunks_of_the_sources_go_and_no_others(call, store, key):
    deleter = ContextualSourceDeleter(store, source_key=key)
    names = ["a", "c", "not there"] if key == "source_id" else ["d/a", "d/c"]
    assert await call(deleter, sources=names) == {"documents_deleted": 4}
    assert {row.meta["source_id"] for row in store.filter_documents()} == {"b"}
    assert await call(deleter, sources=[]) == {"documents_deleted": 0}


async def test_a_store_without_async_methods_works_in_a_thread(call, store):
    class Plain:
        write_documents = staticmethod(store.write_documents)
        filter_documents = staticmethod(store.filter_documents)
        delete_documents = staticmethod(store.delete_documents)

    assert await call(ContextualSourceDeleter(Plain()), ["a"]) == {"documents_deleted": 2}


def test_it_survives_a_round_trip(store):
    made = ContextualSourceDeleter(store, source_key="file_path")
    again = ContextualSourceDeleter.from_dict(made.to_dict())
    assert again.to_dict() == made.to_dict()
    assert again.source_key == "file_path"


@pytest.mark.parametrize(
    ("given", "message"), [((object(),), "no working"), ((None, "meta.x"), "names one field")]
)
def test_what_cannot_work_is_refused(store, given, message):
    target, key = given[0] or store, given[1] if len(given) > 1 else "source_id"
    with pytest.raises(ConfigurationError, match=message):
        ContextualSourceDeleter(target, source_key=key)
