# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""Contextual chunk embeddings for Haystack: every chunk embedded with its siblings in view."""

from haystack_integrations.components.embedders.ctxembed.document_embedder import (
    ContextualDocumentEmbedder,
)
from haystack_integrations.components.embedders.ctxembed.document_writer import (
    ContextualDocumentWriter,
)
from haystack_integrations.components.embedders.ctxembed.source_deleter import (
    ContextualSourceDeleter,
)
from haystack_integrations.components.embedders.ctxembed.text_embedder import (
    ContextualTextEmbedder,
)

__all__ = [
    "ContextualDocumentEmbedder",
    "ContextualDocumentWriter",
    "ContextualSourceDeleter",
    "ContextualTextEmbedder",
]
