"""The provenance of the figures: what is needed to make them again."""

import os
import platform
from datetime import datetime

from ctxembed import machine
from ctxembed.embedder import Embedder
from ctxembed.evaluation.collection import Collection
from ctxembed.evaluation.intervals import DRAWS
from ctxembed.evaluation.result import Provenance
from ctxembed.windows import layout_for

_PASSAGE = (
    "a chunk answers when it and the answering passage share at least half of the shorter of them"
)
_WHOLE = "labels name whole documents, so documents are ranked, each by its best chunk"
_ALWAYS = ("ctxembed", "numpy", "ir-measures", "semantic-text-splitter")


def provenance(
    data: Collection,
    contextual: Embedder,
    independent: Embedder,
    *,
    chunk_tokens: int,
    seed: int,
    command: str,
) -> Provenance:
    """Return pairs of name and value for the report."""
    settings, spec = contextual.settings, contextual.backend.spec
    layout = layout_for(settings, spec)
    backend = settings.resolve_backend()
    context = "none: context_weight is 0"
    if layout.context_weight:
        context = (
            f"windows of {layout.window_tokens} tokens that share {layout.overlap_tokens}, "
            f"context_weight {layout.context_weight:g}, "
            f"neighbour_weight {layout.neighbour_weight:g}"
        )
    return (
        ("model", f"{spec.name}, {spec.dimensions} dimensions"),
        ("runs on", f"{backend}, device {settings.device or 'auto'}, dtype {settings.dtype}"),
        ("context", context),
        ("chunks", f"up to {chunk_tokens} tokens, borders at paragraphs, then sentences"),
        ("data", data.source),
        ("queries", data.simulated or "those of the data"),
        ("an answer", _WHOLE if data.whole else _PASSAGE),
        ("intervals", f"95 %, {DRAWS:,} draws of whole documents, seed {seed}"),
        ("fingerprint, contextual", contextual.fingerprint),
        ("fingerprint, independent", independent.fingerprint),
        ("versions", machine.versions((*_ALWAYS, *machine.LIBRARIES[backend]))),
        ("machine", f"{platform.platform()}, {os.cpu_count()} cores"),
        *([("to run it again", command)] if command else []),
        ("date", datetime.now().astimezone().isoformat(sep=" ", timespec="minutes")),
    )
