"""`ingest`: whatever fails, no document is lost, in this run or the next."""

import asyncio
import logging
from pathlib import Path

import pytest
from llama_index.core import Document, SimpleDirectoryReader
from llama_index.core.extractors import BaseExtractor
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import MarkdownNodeParser
from llama_index.core.readers.base import BasePydanticReader, ReaderConfig
from llama_index.core.schema import MetadataMode, TransformComponent
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from pydantic import Field

from ctxembed import ConfigurationError, DocumentTooLongError, InputError, RateLimitError
from llama_index.embeddings.ctxembed import (
    ContextualEmbedding,
    ContextualNodeParser,
    aingest,
    ingest,
)

STRATEGIES = ["upserts", "upserts_and_delete", "duplicates_only"]

both = pytest.mark.parametrize("is_async", [False, True])
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)

TOO_LONG = "word " * 1001


def document(key, text):
    return Document(text=text, id_=key)


def text_of(name):
    return f"The first sentence about the {name} is here. And a second one about the {name}."


async def run(pipeline, documents, is_async, **keywords):
    if is_async:
        return await aingest(pipeline, documents, **keywords)
    return ingest(pipeline, documents, **keywords)


class Rows(SimpleVectorStore):
    """Keeps texts too, and breaks in the middle of a write as often as it is told to."""

    texts: dict[str, str] = Field(default_factory=dict)
    breaks: int = 0
    by_id: bool = True
    error: type[BaseException] = OSError

    def __init__(self, breaks=0, by_id=True, error=OSError):  # noqa: FBT002
        super().__init__()
        self.texts, self.breaks, self.by_id, self.error = {}, breaks, by_id, error

    def add(self, nodes, **keywords):
        if self.breaks:
            self.breaks -= 1
            self._keep(nodes[: len(nodes) // 2])
            raise self.error("the disk is full")
        self._keep(nodes)
        return [node.node_id for node in nodes]

    def _keep(self, nodes):
        self.texts.update({node.node_id: node.get_content(MetadataMode.NONE) for node in nodes})
        super().add(nodes)

    def delete_nodes(self, node_ids=None, filters=None, **keywords):
        if not self.by_id:
            raise NotImplementedError
        super().delete_nodes(node_ids, filters)


def rows(pipeline):
    """Return every stored row: source, text and vector."""
    store = pipeline.vector_store
    return sorted(
        (store.data.text_id_to_ref_doc_id[key], store.texts[key], tuple(vector))
        for key, vector in store.data.embedding_dict.items()
    )


@pytest.fixture
def embedding(fake):
    return ContextualEmbedding(model_name="fake")


@pytest.fixture
def make(embedding, splitter):
    """Return a pipeline; `errors` is the parser's."""

    def pipeline(strategy="upserts", errors="skip", inner=None, **fields):
        parser = ContextualNodeParser(
            inner=inner or MarkdownNodeParser(), errors=errors, check_with=embedding
        )
        fields = {
            "transformations": [parser, embedding],
            "docstore": SimpleDocumentStore(),
            "vector_store": Rows(),
        } | fields
        return IngestionPipeline(docstore_strategy=strategy, **fields)

    return pipeline


@pytest.fixture
def fresh(make):
    """Return the rows that documents have in stores that never saw another."""

    def rows_of(*documents):
        pipeline = make(errors="raise")
        pipeline.run(documents=[*documents])
        return rows(pipeline)

    return rows_of


def failures(pipeline):
    return [error.key for error in pipeline.transformations[0].failures]


@both
@every_strategy
async def test_an_empty_document_beside_a_changed_one_loses_nothing(
    make, fresh, strategy, is_async
):
    pipeline = make(strategy, errors="raise")
    a, b, c = (document(key, text_of(key)) for key in "abc")
    await run(pipeline, [a, b, c], is_async)
    assert rows(pipeline) == fresh(a, b, c)

    changed, empty = document("a", text_of("mill")), document("b", "")
    nodes = await run(pipeline, [changed, empty, c], is_async)
    assert {node.ref_doc_id for node in nodes} == {"a"}
    kept = [a, b] if strategy == "duplicates_only" else []
    assert rows(pipeline) == sorted([*fresh(changed, c), *fresh(*kept)])

    assert await run(pipeline, [changed, empty, c], is_async) == []
    back = document("b", text_of("bridge"))
    await run(pipeline, [changed, back, c], is_async)
    assert rows(pipeline) == sorted([*fresh(changed, back, c), *fresh(*kept)])


@both
@every_strategy
async def test_a_skipped_document_keeps_its_old_rows_and_is_tried_again(
    make, fresh, strategy, is_async
):
    pipeline = make(strategy)
    a, b = (document(key, text_of(key)) for key in "ab")
    await run(pipeline, [a, b], is_async)

    bad, new_bad, changed = (
        document("a", TOO_LONG),
        document("new", "\ud83d"),
        document("b", text_of("mill")),
    )
    for _ in range(2):
        await run(pipeline, [bad, new_bad, changed], is_async)
        assert failures(pipeline) == ["new", "a"]
        old = [b] if strategy == "duplicates_only" else []
        assert rows(pipeline) == sorted([*fresh(a, changed), *fresh(*old)])
    assert "new" not in pipeline.docstore.get_all_document_hashes().values()

    right, new = document("a", text_of("corrected")), document("new", text_of("new"))
    await run(pipeline, [right, new, changed], is_async)
    assert failures(pipeline) == []
    old = [a, b] if strategy == "duplicates_only" else []
    assert rows(pipeline) == sorted([*fresh(right, new, changed), *fresh(*old)])


@both
@every_strategy
async def test_a_skipped_document_is_embedded_when_the_settings_allow_it(
    make, embedding, strategy, is_async
):
    pipeline = make(strategy)
    documents = [document("long", TOO_LONG), document("fine", text_of("mill"))]
    await run(pipeline, documents, is_async)
    assert failures(pipeline) == ["long"]
    pooled = embedding.model_copy(update={"long_chunks": "pool"})
    again = make(
        strategy,
        docstore=pipeline.docstore,
        vector_store=pipeline.vector_store,
        transformations=[
            ContextualNodeParser(inner=MarkdownNodeParser(), errors="skip", check_with=pooled),
            pooled,
        ],
    )
    assert [node.ref_doc_id for node in await run(again, documents, is_async)] == ["long"]
    assert {source for source, _, _ in rows(again)} == {"long", "fine"}


@both
@every_strategy
async def test_a_429_in_the_middle_leaves_the_stores_as_they_were(
    make, fake, fresh, strategy, is_async
):
    pipeline = make(strategy)
    old = [document(key, text_of(key)) for key in "ab"]
    await run(pipeline, old, is_async)
    before = rows(pipeline), pipeline.docstore.get_all_document_hashes()
    asked = []

    def fault(batch):
        asked.append(batch)
        if len(asked) == 5:
            raise RateLimitError("the quota is used up", status_code=429)

    fake.limits = type(fake.limits)(batch_tokens=8)
    fake._fault = fault
    documents = [document("a", text_of("mill")), old[1]]
    documents += [document(f"new {n}", text_of(f"number {n}")) for n in range(10)]
    with pytest.raises(RateLimitError):
        await run(pipeline, documents, is_async)
    assert (rows(pipeline), pipeline.docstore.get_all_document_hashes()) == before

    fake._fault = None
    nodes = await run(pipeline, documents, is_async)
    assert {node.ref_doc_id for node in nodes} == {each.id_ for each in documents} - {"b"}
    left = [old[0]] if strategy == "duplicates_only" else []
    assert rows(pipeline) == sorted([*fresh(*documents), *fresh(*left)])


@both
@every_strategy
@pytest.mark.parametrize("by_id", [True, False])
async def test_a_store_that_fails_leaves_no_hash_and_no_row_twice(
    make, fresh, strategy, by_id, is_async
):
    pipeline = make(strategy, vector_store=Rows(breaks=1, by_id=by_id), disable_cache=True)
    documents = [document(key, text_of(key)) for key in "abcd"]
    with pytest.raises(OSError, match="the disk is full") as info:
        await run(pipeline, documents, is_async)
    hashes = pipeline.docstore.get_all_document_hashes()
    assert not {each.hash for each in documents} & hashes.keys()
    if by_id:
        assert hashes == {}
        assert rows(pipeline) == []
    else:
        assert "may be in it, of 'a', 'b', 'c', 'd'" in "".join(info.value.__notes__)
    await run(pipeline, documents, is_async)
    twice = fresh(*documents[:2]) if strategy == "duplicates_only" and not by_id else []
    assert rows(pipeline) == sorted([*fresh(*documents), *twice])
    assert await run(pipeline, documents, is_async) == []


@both
@every_strategy
async def test_a_change_that_was_not_stored_is_embedded_also_when_it_is_undone(
    make, fresh, strategy, is_async
):
    pipeline = make(strategy)
    a, b = (document(key, text_of(key)) for key in "ab")
    await run(pipeline, [a, b], is_async)
    pipeline.vector_store.breaks = 1
    with pytest.raises(OSError, match="the disk is full"):
        await run(pipeline, [document("a", text_of("mill")), b], is_async)
    await run(pipeline, [a, b], is_async)
    assert rows(pipeline) == fresh(a, b)


@every_strategy
def test_an_interrupted_write_is_taken_back(make, fresh, strategy):
    pipeline = make(strategy, vector_store=Rows(breaks=1, error=KeyboardInterrupt))
    documents = [document(key, text_of(key)) for key in "ab"]
    with pytest.raises(KeyboardInterrupt):
        ingest(pipeline, documents)
    assert pipeline.docstore.get_all_document_hashes() == {}
    ingest(pipeline, documents)
    assert rows(pipeline) == fresh(*documents)


@every_strategy
async def test_a_cancelled_write_is_taken_back(make, fresh, strategy):
    pipeline = make(strategy, vector_store=Rows(breaks=1, error=asyncio.CancelledError))
    documents = [document(key, text_of(key)) for key in "ab"]
    with pytest.raises(asyncio.CancelledError):
        await aingest(pipeline, documents)
    assert pipeline.docstore.get_all_document_hashes() == {}
    await aingest(pipeline, documents)
    assert rows(pipeline) == fresh(*documents)


@both
async def test_a_docstore_that_cannot_forget_is_said_with_the_first_error(make, is_async):
    class Stuck(SimpleDocumentStore):
        def delete_document(self, doc_id, raise_error=True):  # noqa: FBT002 - as LlamaIndex has it
            raise OSError("read-only")

        async def adelete_document(self, doc_id, raise_error=True):  # noqa: FBT002
            raise OSError("read-only")

    pipeline = make("duplicates_only", docstore=Stuck(), vector_store=Rows(breaks=1))
    with pytest.raises(OSError, match="the disk is full") as info:
        await run(pipeline, [document("a", text_of("mill"))], is_async)
    assert "may take for done what is not stored, of 'a'" in "".join(info.value.__notes__)


@every_strategy
def test_what_a_bare_transformation_cannot_keep(make, fresh, strategy):
    pipeline = make(strategy)
    a, b = (document(key, text_of(key)) for key in "ab")
    pipeline.run(documents=[a, b])
    bad = document("a", TOO_LONG)
    pipeline.run(documents=[bad, b])
    assert failures(pipeline) == ["a"]
    assert rows(pipeline) == fresh(*([a, b] if strategy == "duplicates_only" else [b]))
    assert bad.hash in pipeline.docstore.get_all_document_hashes()


def test_gone_documents_are_deleted_and_skipped_ones_are_not(make, fresh):
    pipeline = make("upserts_and_delete")
    a, b, c = (document(key, text_of(key)) for key in "abc")
    ingest(pipeline, [a, b, c])
    ingest(pipeline, [document("a", TOO_LONG), b])
    assert rows(pipeline) == fresh(a, b)


@every_strategy
def test_equal_documents_that_cannot_be_embedded_are_skipped_together(make, strategy):
    pipeline = make(strategy)
    documents = [document("a", TOO_LONG), document("b", TOO_LONG), document("c", text_of("c"))]
    ingest(pipeline, documents)
    assert {source for source, _, _ in rows(pipeline)} == {"c"}
    assert set(failures(pipeline)) <= {"a", "b"}
    assert set(pipeline.docstore.get_all_document_hashes().values()) == {"c"}


@every_strategy
def test_by_default_a_bad_document_raises_before_a_store_is_touched(make, fake, strategy):
    pipeline = make(strategy, errors="raise")
    a, b = (document(key, text_of(key)) for key in "ab")
    ingest(pipeline, [a, b])
    before = rows(pipeline), pipeline.docstore.get_all_document_hashes()
    for bad in (TOO_LONG, "\ud83d"):
        with pytest.raises(InputError) as info:
            ingest(pipeline, [document("a", text_of("mill")), document("b", bad)])
        assert info.value.key == "b"
        assert (rows(pipeline), pipeline.docstore.get_all_document_hashes()) == before


@both
@pytest.mark.parametrize("bad", [TOO_LONG, "\ud83d"])
async def test_an_error_has_the_place_of_its_document_in_the_call(make, is_async, bad):
    """Documents in front of it have not changed, so the transformations see it as the first."""
    unchanged = [document(key, text_of(key)) for key in "abc"]
    strict, lenient = make("upserts", errors="raise"), make("upserts")
    for pipeline in (strict, lenient):
        await run(pipeline, unchanged, is_async)
    with pytest.raises(InputError) as info:
        await run(strict, [*unchanged, document("d", bad)], is_async)
    assert (info.value.document, info.value.key) == (3, "d")

    await run(lenient, [*unchanged, document("d", bad)], is_async)
    parser = lenient.transformations[0]
    assert [(error.document, error.key) for error in parser.failures] == [(3, "d")]


class Source(BasePydanticReader):
    def lazy_load_data(self, key):
        yield document(key, text_of(key))


class Stripped(TransformComponent):
    """Changes documents in place, before the parser."""

    def __call__(self, nodes, **_):
        for node in nodes:
            node.set_content(node.get_content(MetadataMode.NONE).replace("[ad]", ""))
        return nodes


class Length(BaseExtractor):
    async def aextract(self, nodes):
        return [{"length": len(node.get_content(MetadataMode.NONE))} for node in nodes]


@both
async def test_steps_before_and_after_the_parser_run_once_as_in_a_run(
    make, embedding, splitter, fake, is_async
):
    def steps():
        return [Stripped(), ContextualNodeParser(inner=splitter), Length(), embedding]

    documents = [document(key, f"[ad] {text_of(key)}") for key in "ab"]
    plain = make(transformations=steps())
    plain.run(documents=[document(key, f"[ad] {text_of(key)}") for key in "ab"])
    pipeline = make(transformations=steps())
    await run(pipeline, documents, is_async)
    assert rows(pipeline) == rows(plain) != []
    assert documents[0].text.startswith("[ad]")
    assert await run(pipeline, documents, is_async) == []


@both
async def test_without_a_docstore_or_our_parser_it_is_a_plain_run(
    make, embedding, splitter, fresh, is_async
):
    documents = [document(key, text_of(key)) for key in "ab"]
    for fields in (
        {"docstore": None},
        {"docstore": None, "vector_store": None},
        {"transformations": [MarkdownNodeParser(), embedding]},
        {"transformations": [ContextualNodeParser(inner=splitter, embed_model=embedding)]},
        {"documents": documents[:1]},
        {"readers": [ReaderConfig(reader=Source(), reader_args=["c"])]},
    ):
        pipeline, plain = make(**fields), make(**fields)
        given = documents[1:] if "documents" in fields else documents
        nodes = await run(pipeline, given, is_async, show_progress=False)
        expected = plain.run(documents=given)
        told = [(node.ref_doc_id, node.get_content(), node.embedding) for node in nodes]
        assert told == [(n.ref_doc_id, n.get_content(), n.embedding) for n in expected] != []
        if plain.vector_store is not None:
            assert rows(pipeline) == rows(plain)
        if plain.docstore is not None:
            hashes = plain.docstore.get_all_document_hashes()
            assert pipeline.docstore.get_all_document_hashes() == hashes


@pytest.mark.filterwarnings("ignore:docstore_strategy=.* requires a vector store:UserWarning")
def test_a_docstore_without_a_vector_store_compares_contents(make):
    pipeline = make(vector_store=None)
    documents = [document("a", text_of("mill")), document("bad", TOO_LONG)]
    assert len(ingest(pipeline, documents)) == 1
    assert set(pipeline.docstore.get_all_document_hashes().values()) == {"a"}
    assert ingest(pipeline, documents) == []
    assert failures(pipeline) == ["bad"]


def test_the_cache_of_the_pipeline_is_used(make, fake):
    pipeline = make()
    documents = [document(key, text_of(key)) for key in "ab"]
    ingest(pipeline, documents)
    asked = len(fake.batches)
    other = make(cache=pipeline.cache)
    ingest(other, documents)
    assert len(fake.batches) == asked
    assert rows(other) == rows(pipeline)


@both
async def test_a_docstore_that_another_run_changed_meanwhile_is_noticed(make, is_async):
    class Meddler(TransformComponent):
        def __call__(self, nodes, **_):
            first = document("a", text_of("a"))
            pipeline.docstore.set_document_hash("a", first.hash)
            return nodes

    pipeline = make()
    pipeline.transformations.append(Meddler())
    documents = [document(key, text_of(key)) for key in "ab"]
    with pytest.raises(ConfigurationError, match="one run at a time"):
        await run(pipeline, documents, is_async)
    pipeline.transformations.pop()
    await run(pipeline, documents, is_async)
    assert {source for source, _, _ in rows(pipeline)} == {"a", "b"}


@pytest.fixture
def folder(tmp_path):
    """Twenty files, of which three are bad."""
    for number in range(17):
        (tmp_path / f"{number:02}.txt").write_text(text_of(f"number {number}"))
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "long.txt").write_text(TOO_LONG)
    (tmp_path / "surrogate.txt").write_bytes(b"Not UTF-8: \xff.")
    return tmp_path


def read(folder):
    return SimpleDirectoryReader(
        folder, filename_as_id=True, file_metadata=lambda _: {}, errors="surrogateescape"
    ).load_data()


NO_CACHE = {"disable_cache": True}
CALLS = [
    ("`pipeline.run`", "raise", {}),
    ("`pipeline.run`", "skip", {}),
    ("`pipeline.run`, `disable_cache=True`", "raise", NO_CACHE),
    ("`pipeline.run`, `disable_cache=True`", "skip", NO_CACHE),
    ("`pipeline.run`, without `surrogate.txt`", "skip", {}),
    ("`ingest`", "raise", {}),
    ("`ingest`", "skip", {}),
]


@pytest.mark.parametrize(("call", "errors", "fields"), CALLS)
def test_the_table_of_a_folder_with_bad_files(make, folder, caplog, call, errors, fields):
    if "without" in call:
        (folder / "surrogate.txt").unlink()
    pipeline, documents = make(errors=errors, **fields), read(folder)
    returned = "it raises"
    try:
        with caplog.at_level(logging.WARNING):
            run_it = ingest if "ingest" in call else lambda pipe, given: pipe.run(documents=given)
            nodes = run_it(pipeline, documents)
    except InputError as error:
        said = f"`{type(error).__name__}` that names `{Path(error.key).name}`"
    except UnicodeEncodeError:
        said = "`UnicodeEncodeError` without a name"
    else:
        said = f"{len([each for each in caplog.messages if 'left out' in each.lower()])} warnings"
        returned = f"nodes of {len({node.ref_doc_id for node in nodes})} files"
    stored = {Path(source).name for source, _, _ in rows(pipeline)}
    done = {Path(key).name for key in pipeline.docstore.get_all_document_hashes().values()}

    assert stored in (set(), {f"{number:02}.txt" for number in range(17)})
    if (call, errors) == ("`ingest`", "skip"):
        assert done - stored == {"empty.txt"}
        assert {Path(key).name for key in failures(pipeline)} == {"long.txt", "surrogate.txt"}
        named = [each for each in caplog.messages if ".txt" in each]
        assert len(named) == 3
    name = "defaults" if errors == "raise" else '`errors="skip"`'
    row = f"| {call} | {name} | {len(stored)} files | {said} | {returned} | {len(done)} files |"
    page = Path(__file__).parents[2] / "docs" / "llamaindex.md"
    assert row in page.read_text(encoding="utf-8").splitlines()


@both
async def test_a_document_that_is_refused_only_when_it_is_embedded_is_skipped(
    fake, is_async, caplog
):
    """Over the API tokens are estimated: then only the server finds a document too long."""
    refusal = DocumentTooLongError("has more tokens than the model reads.")

    def refuse(batch):
        texts = [chunk.text for window in batch.windows for chunk in window.chunks]
        if any("cat" in text for text in texts):
            raise refusal

    fake._fault = refuse
    embedding = ContextualEmbedding(model_name="fake")
    parser = ContextualNodeParser(errors="skip", check_with=embedding)
    pipeline = IngestionPipeline(
        transformations=[parser, embedding],
        docstore=SimpleDocumentStore(),
        vector_store=SimpleVectorStore(),
    )
    given = [document(name, text_of(name)) for name in ("dog", "cat", "owl")]
    with caplog.at_level(logging.WARNING):
        nodes = await run(pipeline, given, is_async)
    assert {node.ref_doc_id for node in nodes} == {"dog", "owl"}
    assert [error.key for error in parser.failures] == ["cat"]
    assert any(message.startswith("Left out: ") for message in caplog.messages)
    assert set(pipeline.vector_store.data.text_id_to_ref_doc_id.values()) == {"dog", "owl"}
    fake._fault = None
    assert {node.ref_doc_id for node in await run(pipeline, given, is_async)} == {"cat"}
    assert parser.failures == []
    fake._fault = refuse
    strict = pipeline.model_copy(update={"transformations": [ContextualNodeParser(), embedding]})
    with pytest.raises(DocumentTooLongError):
        await run(strict, [document("cat", text_of("cat") + " More.")], is_async)
