"""`fingerprint_of`: one hash of everything that changes a vector.

A pure function: it reads no files and knows no `Settings`. Which settings change vectors is said
beside each of them in `settings`; what a model directory holds is digested by `checkpoint`.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from ctxembed.models import UNTRAINED_NEIGHBOUR_WEIGHT, ModelSpec

FORMAT_VERSION = 1
"""Part of every fingerprint. It is raised when the same settings begin to give other vectors."""

ALWAYS_HASHED = frozenset(
    (
        *("model", "backend", "revision", "dtype", "dimensions", "encoding", "normalize"),
        *("window_tokens", "overlap_tokens", "context_weight", "long_chunks", "empty", "pooling"),
        *("query_prefix", "document_prefix"),
    )
)
"""Settings that are hashed at their defaults too.

A newer setting is hashed only where it differs from its default, so that fingerprints of vectors
that are stored already stay as they are.
"""

_FROM_SPEC = ("dimensions", "window_tokens", "context_weight", "query_prefix", "document_prefix")


def fingerprint_of(
    settings: Mapping[str, Any],
    spec: ModelSpec | None = None,
    *,
    digest: str | None = None,
    trained: bool = False,
) -> str:
    """Return 32 hexadecimal digits: BLAKE2b of the canonical JSON of what changes a vector.

    Args:
        settings: By name, those that change vectors, with the backend that "auto" means, and the
            `counter` of tokens.
        spec: The model's record where the table has one. Its values stand in for settings that are
            None, so that naming a default changes nothing.
        digest: The digest of a model directory, which then counts in place of its name.
        trained: Whether that directory holds a model that was trained for context.
    """
    values = dict(settings)
    if digest is not None:
        values["model"] = f"directory:{digest}"
    elif spec is not None:
        values["model"] = spec.name
        values |= {name: getattr(spec, name) for name in _FROM_SPEC if values[name] is None}
        if values["overlap_tokens"] is None and not values["document_prefix"]:
            values["overlap_tokens"] = spec.overlap(values["window_tokens"])
    mixed = values["context_weight"] is None or 0 < values["context_weight"] < 1
    neighbours = values.pop("neighbour_weight", None)
    if neighbours is None and mixed and not trained:
        neighbours = UNTRAINED_NEIGHBOUR_WEIGHT if spec is None else spec.neighbour_weight
        if spec is None and digest is None:
            # a hub id may turn out to be a model that was trained for context, which has none
            neighbours = f"untrained:{neighbours}"
    if neighbours:  # vectors without any were made before there was this setting, and stay known
        values["neighbour_weight"] = neighbours
    values["format"] = FORMAT_VERSION
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return blake2b(canonical.encode(), digest_size=16).hexdigest()
