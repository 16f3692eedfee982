"""`ContextualNodeParser` around the parsers of LlamaIndex."""

import pickle

import pytest
from llama_index.core import Document
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.node_parser import (
    CodeSplitter,
    HierarchicalNodeParser,
    HTMLNodeParser,
    JSONNodeParser,
    MarkdownNodeParser,
    NodeParser,
    SemanticSplitterNodeParser,
    SentenceSplitter,
    SentenceWindowNodeParser,
    TokenTextSplitter,
)
from llama_index.core.schema import MetadataMode, NodeRelationship
from pydantic import ValidationError

from llama_index.embeddings.ctxembed import ContextualEmbedding, ContextualNodeParser

KEYS = ("context_id", "context_index", "context_size")

MARKDOWN = "# One\n\nFirst part.\n\n## Two\n\nSecond part.\n\n# Three\n\nThird part."
PARSERS = {
    "sentence": lambda: SentenceSplitter(chunk_size=32, chunk_overlap=0),
    "overlapping": lambda: SentenceSplitter(chunk_size=48, chunk_overlap=16),
    "window": SentenceWindowNodeParser.from_defaults,
    "token": lambda: TokenTextSplitter(chunk_size=24, chunk_overlap=0),
    "markdown": MarkdownNodeParser,
    "html": lambda: HTMLNodeParser(tags=["h1", "p"]),
    "json": JSONNodeParser,
    "hierarchical": lambda: HierarchicalNodeParser.from_defaults([64, 24], chunk_overlap=0),
}
TEXTS = {
    "markdown": MARKDOWN,
    "html": "<h1>Title</h1><p>First part.</p>",
    "json": '[{"a": 1}, {"a": 2}]',
}


def bare(node):
    """Return what the wrapped parser decided of a node, apart from random ids."""
    kinds = sorted(kind.name for kind in node.relationships)
    metadata = {key: value for key, value in node.metadata.items() if key not in KEYS}
    return node.text, metadata, node.start_char_idx, node.end_char_idx, node.ref_doc_id, kinds


@pytest.fixture(params=PARSERS)
def case(request, documents):
    if request.param == "html":
        pytest.importorskip("bs4")
    text = TEXTS.get(request.param)
    given = documents if text is None else [Document(text=text, id_=f"d{n}") for n in range(3)]
    return PARSERS[request.param], given


async def test_nodes_are_those_of_the_wrapped_parser_sync_and_async(case):
    make, documents = case
    plain = [bare(node) for node in make()(documents)]
    parser = ContextualNodeParser(inner=make())
    assert [bare(node) for node in parser(documents)] == plain
    assert [bare(node) for node in await parser.acall(documents)] == plain
    assert [bare(node) for node in parser.get_nodes_from_documents(documents)] == plain
    assert len(plain) > len(documents)


def test_every_node_knows_its_siblings_and_nobody_reads_that(case):
    make, documents = case
    plain = make()(documents)
    nodes = ContextualNodeParser(inner=make())(documents)
    together = {}
    for node, before in zip(nodes, plain, strict=True):
        together.setdefault(node.metadata["context_id"], []).append(node)
        for mode in (MetadataMode.EMBED, MetadataMode.LLM, MetadataMode.NONE):
            assert node.get_content(mode) == before.get_content(mode)
    for siblings in together.values():
        assert len({node.ref_doc_id for node in siblings}) == 1
        assert [node.metadata["context_index"] for node in siblings] == [*range(len(siblings))]
        assert {node.metadata["context_size"] for node in siblings} == {len(siblings)}
    levels = 2 if "Hierarchical" in type(make()).__name__ else 1
    assert len(together) == levels * len(documents)


def test_code_is_split_and_stamped(embedding, contextual, is_right):
    tree_sitter = pytest.importorskip("tree_sitter")
    grammar = pytest.importorskip("tree_sitter_python")
    inner = CodeSplitter(
        language="python",
        parser=tree_sitter.Parser(tree_sitter.Language(grammar.language())),
        max_chars=40,
    )
    code = "\n\n\n".join(f"def function_{n}():\n    return {n}" for n in range(3))
    nodes = ContextualNodeParser(inner=inner, embed_model=embedding)([Document(text=code)])
    assert len(nodes) > 1
    for node, right in zip(nodes, contextual([node.text for node in nodes]), strict=True):
        assert is_right(node.embedding, right)


def test_a_fingerprint_changes_with_any_sibling_their_order_and_their_document(
    parser, document_of
):
    def ids(*contents):
        nodes = parser([document_of(n, content) for n, content in enumerate(contents)])
        return [node.metadata["context_id"] for node in nodes]

    one, two, other = (
        f"The {name} crossed a very wide river in flood on the way to the old town, they say."
        for name in ("king", "miller", "wolf")
    )
    first = ids(f"{one} {two}")
    assert len(first) == 2
    assert len(set(first)) == 1
    assert first == ids(f"{one} {two}", other)[:2]
    changed = [
        ids(f"{two} {one}"),
        ids(f"{one} {other}"),
        ids(one),
        ids(other, f"{one} {two}")[1:],
    ]
    assert len({first[0], *(each[0] for each in changed)}) == 5


def test_stamps_of_a_node_that_is_split_further_are_not_inherited(parser, documents):
    coarse = ContextualNodeParser(inner=SentenceSplitter(chunk_size=64, chunk_overlap=0))
    chained = parser(coarse(documents))
    direct = parser(documents)
    assert [node.text for node in chained] == [node.text for node in direct]
    assert [node.metadata["context_id"] for node in chained] == [
        node.metadata["context_id"] for node in direct
    ]
    assert all(node.excluded_embed_metadata_keys.count("context_id") == 1 for node in chained)


def test_previous_and_next_stay_within_a_level_of_a_hierarchy(documents):
    nodes = ContextualNodeParser(inner=PARSERS["hierarchical"]())(documents)
    by_id = {node.node_id: node for node in nodes}
    links = [
        (node, by_id[node.relationships[kind].node_id])
        for node in nodes
        for kind in (NodeRelationship.PREVIOUS, NodeRelationship.NEXT)
        if kind in node.relationships
    ]
    assert links
    for node, other in links:
        assert (node.parent_node is None) == (other.parent_node is None)


def test_the_default_parser_splits_sentences_into_small_chunks_without_overlap():
    inner = ContextualNodeParser().inner
    assert isinstance(inner, SentenceSplitter)
    assert (inner.chunk_size, inner.chunk_overlap) == (64, 0)


@pytest.mark.parametrize("is_async", [False, True])
async def test_splitting_and_embedding_in_one_step_reads_metadata(
    embedding, splitter, documents, check, is_async
):
    parser = ContextualNodeParser(inner=splitter, embed_model=embedding)
    nodes = await parser.acall(documents) if is_async else parser(documents)
    check(nodes, documents)


@pytest.mark.parametrize("shuffled", [False, True])
def test_each_level_of_a_hierarchy_is_its_own_context(
    embedding, documents, contextual, is_right, shuffled
):
    import random

    nodes = ContextualNodeParser(inner=PARSERS["hierarchical"]())(documents)
    order = random.Random(3).sample(nodes, len(nodes)) if shuffled else nodes
    embedding(order)
    for key in [document.id_ for document in documents]:
        for has_parent in (False, True):
            level = [
                node
                for node in nodes
                if node.ref_doc_id == key and (node.parent_node is not None) == has_parent
            ]
            right = contextual([node.get_content(MetadataMode.EMBED) for node in level])
            for node, row in zip(level, right, strict=True):
                assert is_right(node.embedding, row)


def test_the_model_reads_no_stamp_even_where_it_reads_all_metadata(
    embedding, parser, documents, contextual, is_right
):
    everything = embedding.model_copy(update={"metadata_mode": MetadataMode.ALL})
    nodes = [node for node in everything(parser(documents)) if node.ref_doc_id == "tale-1"]
    right = contextual([f"title: Tale 1\n\n{node.text}" for node in nodes])
    assert all(is_right(node.embedding, row) for node, row in zip(nodes, right, strict=True))


def test_all_of_a_parser_is_in_the_dict_and_survives_pickling(embedding):
    def parser(**changes):
        fine = SentenceSplitter(chunk_size=32, **({"chunk_overlap": 0} | changes))
        inner = HierarchicalNodeParser(
            node_parser_ids=["a", "b"],
            node_parser_map={"a": SentenceSplitter(), "b": fine},
        )
        return ContextualNodeParser(inner=inner, embed_model=embedding)

    given = parser()
    assert given.to_dict() == parser().to_dict() != parser(chunk_overlap=1).to_dict()
    assert given.to_dict()["embed_model"] == embedding.to_dict()
    assert given.to_dict()["inner"]["class_name"] == "HierarchicalNodeParser"
    again = pickle.loads(pickle.dumps(given))
    assert again.to_dict() == given.to_dict()
    assert isinstance(again.embed_model, ContextualEmbedding)
    smaller = given.model_copy(update={"embed_model": ContextualEmbedding(dimensions=8)})
    assert smaller.to_dict() != given.to_dict()
    assert ContextualNodeParser.class_name() == "ContextualNodeParser"
    assert isinstance(given, NodeParser)


@pytest.mark.parametrize(
    "unread",
    [
        {"id_func": lambda i, doc: f"{doc.id_}:{i}"},
        {"include_metadata": False},
        {"include_prev_next_rel": False},
    ],
)
def test_what_the_wrapped_parser_decides_is_refused_here(unread, documents):
    with pytest.raises(ValidationError, match="set it on inner"):
        ContextualNodeParser(**unread)
    inner = SentenceSplitter(chunk_size=32, chunk_overlap=0, **unread)
    nodes = ContextualNodeParser(inner=inner)(documents)
    assert len(nodes) == len(inner(documents))


@pytest.mark.parametrize(
    "unknown", [{"chunk_size": 128}, {"chunk_overlap": 0}, {"embedding": None}]
)
def test_unknown_settings_are_refused_by_name(unknown):
    (name,) = unknown
    with pytest.raises(ValidationError, match=f"{name}\n  Extra inputs are not permitted"):
        ContextualNodeParser(**unknown)


def test_one_parsing_event_holds_the_nodes(parser, documents):
    debug = LlamaDebugHandler(print_trace_on_end=False)
    parser.callback_manager = CallbackManager([debug])
    nodes = parser(documents, embed_model=object(), insert_batch_size=1)
    ((_, end),) = debug.get_event_pairs(CBEventType.NODE_PARSING)
    assert end.payload["nodes"] == nodes


def test_an_inner_parser_that_embeds_texts_gets_them_alone(embedding, documents, check):
    inner = SemanticSplitterNodeParser(embed_model=embedding, breakpoint_percentile_threshold=50)
    nodes = ContextualNodeParser(inner=inner, embed_model=embedding)(documents)
    check(nodes, documents)


async def test_nothing_to_split_gives_nothing(parser):
    assert parser([]) == await parser.acall([]) == []
