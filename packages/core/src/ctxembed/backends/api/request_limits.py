"""What one request may carry: the limits of the API, and less where a request was too long.

The API counts tokens with a tokenizer of its own. A refusal is how the client learns that its count
was too low.
"""

from dataclasses import replace

from ctxembed.batches import Batch, Limits
from ctxembed.models import ModelSpec
from ctxembed.wire import MAX_CHUNKS, MAX_DOCUMENTS, MAX_REQUEST_TOKENS

_SHARE_AFTER_REFUSAL = 0.8
"""Part of the tokens of a refused request that later requests may have."""


def request_limits(spec: ModelSpec, batch_tokens: int | None, concurrency: int) -> Limits:
    """Return the limits before any refusal; `batch_tokens` None means as much as the API takes."""
    return Limits(
        documents=MAX_DOCUMENTS,
        chunks=MAX_CHUNKS,
        document_tokens=spec.max_tokens,
        batch_tokens=min(batch_tokens or MAX_REQUEST_TOKENS, MAX_REQUEST_TOKENS),
        concurrency=concurrency,
    )


def lowered(limits: Limits, refused: Batch) -> Limits:
    """Return the limits after a batch was refused as too long.

    They stay the same where the batch holds one window, and where it has fewer tokens than one
    window may have: then a document is the cause, and not the size of the request.
    """
    if len(refused.windows) == 1 or refused.tokens <= limits.document_tokens:
        return limits
    tokens = max(int(refused.tokens * _SHARE_AFTER_REFUSAL), limits.document_tokens)
    return replace(limits, batch_tokens=min(limits.batch_tokens, tokens))
