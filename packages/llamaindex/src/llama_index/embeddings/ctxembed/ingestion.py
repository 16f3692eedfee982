"""`ingest`, `aingest`: an ingestion pipeline, run so that nothing is lost where something fails.

`IngestionPipeline.run` writes down hashes, or deletes old rows, before any transformation runs.
Here documents are split, checked and embedded first, apart from the stores. The stores are touched
when all vectors are there, and where one of them fails the run is taken back.
"""

import copy
from collections.abc import Sequence
from typing import Any

from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import BaseNode, Document

from ctxembed import InputError
from llama_index.embeddings.ctxembed.ingestion_steps import (
    Remembered,
    Storing,
    all_documents,
    changed_documents,
    in_call,
    placed,
    split_steps,
    without_refused,
    without_stores,
)
from llama_index.embeddings.ctxembed.node_removal import source_of


def ingest(
    pipeline: IngestionPipeline,
    documents: Sequence[Document],
    *,
    show_progress: bool = False,
    cache_collection: str | None = None,
    store_doc_text: bool = True,
) -> Sequence[BaseNode]:
    """Run a pipeline over documents, and return the nodes that were made, as `pipeline.run` does.

    A document that the pipeline's `ContextualNodeParser` skips (`errors="skip"`) is neither written
    down nor deleted: its old rows stay, the parser lists it in `failures`, and the next run tries
    it again. When a transformation raises, the stores are as they were. When a store raises, the
    docstore forgets the documents of this run, so that the next run embeds them.

    `pipeline.documents` and `pipeline.readers` are read too. All runs in this process.

    Raises:
        InputError: a document that cannot be embedded, where the parser does not skip it.
        BackendError: the model gave no vectors.
    """
    given = all_documents(pipeline, documents)
    remembered = _remembered(pipeline, given)
    changed = changed_documents(pipeline, given, remembered)
    before, parser, after = split_steps(pipeline.transformations)
    nodes: Sequence[BaseNode] = copy.deepcopy(changed)
    for step in before:
        nodes = step(nodes)
    own = parser and parser.model_copy()  # whose failures no other call replaces
    options: Any = {"show_progress": show_progress, "cache_collection": cache_collection}
    with placed(given):
        if own is not None:
            nodes = own(nodes, show_progress=show_progress)
        while True:
            try:
                embedded = without_stores(pipeline, after).run(nodes=nodes, **options)
                break
            except InputError as error:
                nodes = without_refused(own, nodes, error)
    failures = [] if own is None else [in_call(each, given) for each in own.failures]
    if parser is not None:
        parser.failures = failures
    storing = Storing.of(pipeline, given, changed, remembered, failures)
    try:
        storing.pipeline(embedded).run(documents=storing.documents, store_doc_text=store_doc_text)
    except BaseException as error:
        _take_back(storing, embedded, error)
        raise
    return embedded


async def aingest(
    pipeline: IngestionPipeline,
    documents: Sequence[Document],
    *,
    show_progress: bool = False,
    cache_collection: str | None = None,
    store_doc_text: bool = True,
) -> Sequence[BaseNode]:
    """Like `ingest`, without blocking the event loop."""
    given = all_documents(pipeline, documents)
    remembered = await _aremembered(pipeline, given)
    changed = changed_documents(pipeline, given, remembered)
    before, parser, after = split_steps(pipeline.transformations)
    nodes: Sequence[BaseNode] = copy.deepcopy(changed)
    for step in before:
        nodes = await step.acall(nodes)
    own = parser and parser.model_copy()
    options: Any = {"show_progress": show_progress, "cache_collection": cache_collection}
    with placed(given):
        if own is not None:
            nodes = await own.acall(nodes, show_progress=show_progress)
        while True:
            try:
                embedded = await without_stores(pipeline, after).arun(nodes=nodes, **options)
                break
            except InputError as error:
                nodes = without_refused(own, nodes, error)
    failures = [] if own is None else [in_call(each, given) for each in own.failures]
    if parser is not None:
        parser.failures = failures
    storing = Storing.of(pipeline, given, changed, remembered, failures)
    try:
        await storing.pipeline(embedded).arun(
            documents=storing.documents, store_doc_text=store_doc_text
        )
    except BaseException as error:
        await _atake_back(storing, embedded, error)
        raise
    return embedded


def _remembered(pipeline: IngestionPipeline, documents: Sequence[Document]) -> Remembered:
    docstore = pipeline.docstore
    if docstore is None:
        return Remembered({}, frozenset())
    keys = {key for document in documents for key in (document.id_, source_of(document))}
    hashes = {key: docstore.get_document_hash(key) for key in keys}
    return Remembered(hashes, frozenset(docstore.get_all_document_hashes()))


async def _aremembered(pipeline: IngestionPipeline, documents: Sequence[Document]) -> Remembered:
    docstore = pipeline.docstore
    if docstore is None:
        return Remembered({}, frozenset())
    keys = {key for document in documents for key in (document.id_, source_of(document))}
    hashes = {key: await docstore.aget_document_hash(key) for key in keys}
    return Remembered(hashes, frozenset(await docstore.aget_all_document_hashes()))


def _take_back(storing: Storing, nodes: Sequence[BaseNode], error: BaseException) -> None:
    """Delete the rows of a run that failed, and let the docstore forget its documents."""
    docstore, deleted = storing.docstore, _delete_rows(storing, nodes, error)
    if docstore is None:
        return
    try:
        for key, former in storing.hashes_to_put_back(rows_deleted=deleted).items():
            if former is None:
                docstore.delete_document(key, raise_error=False)
            else:
                docstore.set_document_hash(key, former)
    except Exception:  # noqa: BLE001 - whatever a store raises
        storing.note_hashes(error)


async def _atake_back(storing: Storing, nodes: Sequence[BaseNode], error: BaseException) -> None:
    docstore, deleted = storing.docstore, await _adelete_rows(storing, nodes, error)
    if docstore is None:
        return
    hashes = storing.hashes_to_put_back(rows_deleted=deleted)
    try:
        for key, former in hashes.items():
            if former is None:
                await docstore.adelete_document(key, raise_error=False)
            else:
                await docstore.aset_document_hash(key, former)
    except Exception:  # noqa: BLE001 - whatever a store raises
        storing.note_hashes(error)


def _delete_rows(storing: Storing, nodes: Sequence[BaseNode], error: BaseException) -> bool:
    """Tell whether no row of a run is left; where one may be, a note on its error says so."""
    try:
        if storing.vector_store is not None:
            storing.vector_store.delete_nodes([node.node_id for node in nodes])
    except Exception:  # noqa: BLE001 - whatever a store raises
        storing.note_rows(error)
        return False
    return True


async def _adelete_rows(storing: Storing, nodes: Sequence[BaseNode], error: BaseException) -> bool:
    try:
        if storing.vector_store is not None:
            await storing.vector_store.adelete_nodes([node.node_id for node in nodes])
    except Exception:  # noqa: BLE001 - whatever a store raises
        storing.note_rows(error)
        return False
    return True
