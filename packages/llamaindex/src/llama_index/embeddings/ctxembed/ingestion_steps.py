"""What `ingest` decides, without calling a store: which documents run, and what is taken back."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.schema import BaseNode, Document, TransformComponent
from llama_index.core.storage.docstore import BaseDocumentStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from ctxembed import ConfigurationError, InputError
from llama_index.embeddings.ctxembed.node_parser import ContextualNodeParser
from llama_index.embeddings.ctxembed.node_removal import source_of, without_sources

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a docstore had before the run: the hash of each document given, and all hashes."""

    of_documents: Mapping[str, str | None]
    hashes: frozenset[str]


class _Unchanged(Document):
    """Stands for a document that was skipped; a pipeline takes it for one that did not change."""

    former: str

    @property
    def hash(self) -> str:
        """Return the hash that the docstore has."""
        return self.former


class _Embedded(TransformComponent):
    """Stands for the transformations of a pipeline: gives the nodes that they made."""

    ids: list[str]
    nodes: list[Any]

    def __call__(self, nodes: Sequence[BaseNode], **_: Any) -> Sequence[BaseNode]:
        if [node.id_ for node in nodes] != self.ids:
            raise ConfigurationError(
                "The docstore changed while documents were embedded. Hint: let one run at a time "
                "use it, and run again."
            )
        return self.nodes


def all_documents(pipeline: IngestionPipeline, documents: Sequence[Document]) -> list[Document]:
    """Return the documents given, and those that the pipeline has or reads itself."""
    given = [*documents, *(pipeline.documents or ())]
    for reader in pipeline.readers or ():
        given += reader.read()
    return given


def upserts(pipeline: IngestionPipeline) -> bool:
    """Tell whether a pipeline deletes the old rows of a changed document."""
    stores = pipeline.docstore is not None and pipeline.vector_store is not None
    return stores and pipeline.docstore_strategy != DocstoreStrategy.DUPLICATES_ONLY


def changed_documents(
    pipeline: IngestionPipeline, documents: Sequence[Document], remembered: Remembered
) -> list[Document]:
    """Return the documents that a pipeline would run: those that its docstore does not have."""
    if pipeline.docstore is None:
        return [*documents]
    hashes = [_hash(document) for document in documents]
    if upserts(pipeline):
        known = remembered.of_documents
        return [
            document
            for document, hash_ in zip(documents, hashes, strict=True)
            if hash_ is None or known.get(source_of(document)) != hash_
        ]
    seen: set[str | None] = {*remembered.hashes}
    found = []
    for document, hash_ in zip(documents, hashes, strict=True):
        if hash_ is None or hash_ not in seen:
            found.append(document)
            seen.add(hash_)
    return found


def _hash(document: Document) -> str | None:
    """Return a document's hash; None where its text is not Unicode, which has none."""
    try:
        return document.hash
    except UnicodeEncodeError:
        return None


def split_steps(
    steps: Sequence[TransformComponent],
) -> tuple[
    Sequence[TransformComponent], ContextualNodeParser | None, Sequence[TransformComponent]
]:
    """Return the last `ContextualNodeParser`, with what comes before and after it."""
    for place in reversed(range(len(steps))):
        parser = steps[place]
        if isinstance(parser, ContextualNodeParser):
            return steps[:place], parser, steps[place + 1 :]
    return [], None, steps


def without_refused(
    parser: ContextualNodeParser | None, nodes: Sequence[BaseNode], error: InputError
) -> list[BaseNode]:
    """Return the nodes without a document that was refused only when it was embedded.

    A server counts tokens exactly where they were estimated before. The parser lists the document.

    Raises:
        InputError: the one given, where no parser skips documents, or it names none of these.
    """
    rest = without_sources(nodes, [error])
    if parser is None or parser.errors != "skip" or len(rest) == len(nodes):
        raise error
    parser.failures = [*parser.failures, error]
    logger.warning("Left out: %s", error)
    return rest


def in_call(error: InputError, documents: Sequence[Document]) -> InputError:
    """Return the error with the place of its document in the call.

    It comes with the place among the documents that changed.
    """
    places = [number for number, each in enumerate(documents) if each.id_ == error.key]
    return error.at(document=places[0]) if len(places) == 1 else error


@contextmanager
def placed(documents: Sequence[Document]) -> Iterator[None]:
    """Give an error that ends the block the place of its document in the call."""
    try:
        yield
    except InputError as error:
        raise in_call(error, documents) from error.__cause__


def without_stores(
    pipeline: IngestionPipeline, steps: Sequence[TransformComponent]
) -> IngestionPipeline:
    """Return a pipeline with the same cache that runs some steps and stores nothing."""
    return pipeline.model_copy(
        update={
            "transformations": [*steps],
            "docstore": None,
            "vector_store": None,
            "documents": None,
            "readers": None,
        }
    )


@dataclass(frozen=True, slots=True)
class Storing:
    """The second half of a run: `embedded` documents, whose nodes go into the stores.

    `documents` are those that the pipeline is shown: the embedded ones, the unchanged ones, and
    stand-ins for skipped ones that the docstore has, so that no strategy takes them for deleted.
    """

    whole: IngestionPipeline
    documents: list[Document]
    embedded: list[Document]
    remembered: Remembered

    @classmethod
    def of(
        cls,
        pipeline: IngestionPipeline,
        given: Sequence[Document],
        changed: Sequence[Document],
        remembered: Remembered,
        failures: Sequence[InputError],
    ) -> Self:
        """Return what to store, after some documents failed."""
        failed = {error.key for error in failures}
        contents: set[str | None] = set()
        if pipeline.docstore is not None and not upserts(pipeline):  # of equal ones, the first ran
            contents = {_hash(each) for each in changed if source_of(each) in failed}

        def is_skipped(document: Document) -> bool:
            return source_of(document) in failed or (
                bool(contents) and _hash(document) in contents
            )

        shown: list[Document] = []
        for document in given:
            if not is_skipped(document):
                shown.append(document)
            elif former := remembered.of_documents.get(source_of(document)):
                shown.append(_Unchanged(id_=source_of(document), former=former))
        embedded = [document for document in changed if not is_skipped(document)]
        return cls(pipeline, shown, embedded, remembered)

    @property
    def docstore(self) -> BaseDocumentStore | None:
        """The pipeline's own."""
        return self.whole.docstore

    @property
    def vector_store(self) -> BasePydanticVectorStore | None:
        """The pipeline's own."""
        return self.whole.vector_store

    def pipeline(self, nodes: Sequence[BaseNode]) -> IngestionPipeline:
        """Return the pipeline with its stores, in which nodes stand for the transformations."""
        ids = [document.id_ for document in self.embedded]
        return self.whole.model_copy(
            update={
                "transformations": [_Embedded(ids=ids, nodes=[*nodes])],
                "disable_cache": True,
                "documents": None,
                "readers": None,
            }
        )

    def hashes_to_put_back(self, *, rows_deleted: bool) -> dict[str, str | None]:
        """Return the hash of each document after a failed run; None forgets the document.

        Where rows of a document may be gone, or may be left, an upsert must neither take it for
        unchanged nor for new: it gets a hash that no document has, and the next run replaces it.
        """
        former = {each.id_: self.remembered.of_documents.get(each.id_) for each in self.embedded}
        if not upserts(self.whole):
            return former
        return {
            key: None if hash_ is None and rows_deleted else f"unfinished: {key}"
            for key, hash_ in former.items()
        }

    def note_rows(self, error: BaseException) -> None:
        """Say with an error which rows may be half written."""
        sources = ", ".join(repr(each.id_) for each in self.embedded)
        error.add_note(
            "The vector store did not delete the rows of this run. Some of them may be in it, of "
            f"{sources}."
        )

    def note_hashes(self, error: BaseException) -> None:
        """Say with an error which documents the docstore may take for done."""
        sources = ", ".join(repr(each.id_) for each in self.embedded)
        error.add_note(
            f"The docstore may take for done what is not stored, of {sources}. Hint: change their "
            "hashes, or start a new docstore."
        )
