"""A block of documents: how many are read at once, and reading them.

What becomes of a block is left to `execution`.
"""

from collections.abc import AsyncIterator, Iterator

from ctxembed.batches import Limits
from ctxembed.documents import Document
from ctxembed.errors import EmbedError
from ctxembed.planning import LARGEST_BATCH
from ctxembed.progress import characters

Block = list[Document | EmbedError]

BATCHES_PER_BLOCK = 8
_CHARACTERS_PER_TOKEN = 4
_CHARACTERS_PER_CHUNK = 16


def block_size(limits: Limits) -> int:
    """Return how many characters to read at once: about what fills some batches."""
    batch = min(limits.batch_tokens, LARGEST_BATCH) * _CHARACTERS_PER_TOKEN
    return BATCHES_PER_BLOCK * limits.concurrency * batch


def read_block(documents: Iterator[Document | EmbedError], left: int) -> Block:
    """Return the next documents, until no characters are `left`; an empty block at the end."""
    block: Block = []
    for document in documents:
        block.append(document)
        left -= _size(document)
        if left <= 0:
            break
    return block


async def aread_block(documents: AsyncIterator[Document | EmbedError], left: int) -> Block:
    """Like `read_block`, for an asynchronous iterator."""
    block: Block = []
    async for document in documents:
        block.append(document)
        left -= _size(document)
        if left <= 0:
            break
    return block


def _size(document: Document | EmbedError) -> int:
    """Return the length of a document, with what each chunk takes beside its text."""
    chunks = 0 if isinstance(document, EmbedError) else len(document)
    return characters(document) + _CHARACTERS_PER_CHUNK * (1 + chunks)
