"""What the other tests compare with tells right from wrong."""

from llama_index.core.schema import MetadataMode


def test_context_moves_every_vector_of_the_documents(parser, documents, contextual, is_right):
    nodes = parser(documents)
    for document in documents:
        parts = [n.get_content(MetadataMode.EMBED) for n in nodes if n.ref_doc_id == document.id_]
        alone = [contextual([part])[0] for part in parts]
        reordered = contextual(parts[::-1])[::-1]
        for right, single, other in zip(contextual(parts), alone, reordered, strict=True):
            assert not is_right(single, right)
            assert not is_right(other, right)


def test_siblings_of_another_document_move_a_shared_sentence(
    parser, documents, contextual, is_right
):
    nodes = parser(documents)
    first, second = (
        [n.get_content(MetadataMode.EMBED) for n in nodes if n.ref_doc_id == key]
        for key in ("tale-0", "tale-3")
    )
    assert not is_right(
        contextual([first[0], *first[1:]])[0], contextual([first[0], *second[1:]])[0]
    )
