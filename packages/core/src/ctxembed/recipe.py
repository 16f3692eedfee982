"""What settings and a model decide together, once for all calls: `Recipe`."""

from dataclasses import dataclass, replace
from typing import Any

from ctxembed.backends import Backend
from ctxembed.cache import VectorCache
from ctxembed.cache.document_cache import DocumentCache, document_cache, document_values
from ctxembed.documents import TokenizedChunk
from ctxembed.encoding import Encoding, Form, StoredForm, form_for, stored_form
from ctxembed.errors import ConfigurationError
from ctxembed.models import Quantizer
from ctxembed.settings import EmptyChunks, Settings
from ctxembed.telemetry import Inputs
from ctxembed.windows import Layout, layout_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything between chunks and stored vectors that is the same in all calls.

    `inputs` says what is embedded, for spans. `cache` is where finished documents are looked up and
    kept, None where nowhere.
    """

    layout: Layout
    form: Form
    encoding: Encoding
    quantizer: Quantizer
    width: int
    dimensions: int
    unit: bool
    empty: EmptyChunks
    inputs: Inputs = "documents"
    prefix: TokenizedChunk | None = None
    cache: DocumentCache | None = None

    @property
    def stored(self) -> StoredForm:
        """What is kept of a row."""
        return stored_form(self.encoding, self.quantizer)


def document_recipe(
    settings: Settings, backend: Backend, store: VectorCache | None = None
) -> Recipe:
    """Return the recipe for documents; what does not go together is a `ConfigurationError`.

    `store` is the cache of their vectors, which needs a backend with an identity.
    """
    spec = backend.spec
    text = spec.document_prefix if settings.document_prefix is None else settings.document_prefix
    prefix = backend.tokenize([text])[0] if text else None
    layout = layout_for(settings, spec, prefix.count if prefix else 0)
    recipe = _recipe(settings, backend, layout, prefix)
    if store is None:
        return recipe
    values = made_with(recipe, backend)
    if values is None:
        raise ConfigurationError(
            f"a cache needs to know which vectors are the same, and {type(backend).__name__} has "
            "no identity. Hint: leave cache out, or give the backend an `identity` attribute, a "
            "ctxembed.backends.identity.ModelIdentity."
        )
    return replace(recipe, cache=document_cache(store, values))


def made_with(recipe: Recipe, backend: Backend) -> dict[str, Any] | None:
    """Return everything but its chunks that decides the rows of a document before they are stored.

    Nothing is left to be looked up: a floating revision is the digest of its files, and "auto" is
    what it came to. None where the backend has no identity.
    """
    identity = getattr(backend, "identity", None)
    if identity is None:
        return None
    return document_values(
        identity,
        recipe.layout,
        form=recipe.stored,
        quantizer=recipe.quantizer,
        dimensions=recipe.dimensions,
        prefix=recipe.prefix.text if recipe.prefix else "",
    )


def query_recipe(settings: Settings, backend: Backend) -> Recipe:
    """Return the recipe for queries: each alone, without the prefix that documents get."""
    layout = replace(
        layout_for(settings, backend.spec),
        context_weight=0.0,
        neighbour_weight=0.0,
        long_chunks=settings.long_queries or settings.long_chunks,
    )
    return replace(_recipe(settings, backend, layout, None), inputs="queries")


def _recipe(
    settings: Settings, backend: Backend, layout: Layout, prefix: TokenizedChunk | None
) -> Recipe:
    spec = backend.spec
    dimensions = settings.dimensions or spec.dimensions
    if dimensions > spec.dimensions:
        raise ConfigurationError(
            f"dimensions is {dimensions} and {spec.name} has {spec.dimensions}."
        )
    mixed = 0 < layout.context_weight < 1 or layout.neighbour_weight > 0
    pooled = mixed or layout.long_chunks == "pool"
    form = form_for(settings.encoding, spec.quantizer, mixed=pooled, forms=backend.forms)
    if form is None:
        raise ConfigurationError(
            "this backend gives finished codes only, and these settings need vectors before they "
            "are quantised. Hint: context_weight=1, neighbour_weight=0 and "
            'long_chunks="error", long_queries="error", or local weights.'
        )
    return Recipe(
        layout=layout,
        form=form,
        encoding=settings.encoding,
        quantizer=spec.quantizer,
        width=spec.dimensions,
        dimensions=dimensions,
        unit=settings.normalize,
        empty=settings.empty,
        prefix=prefix,
    )
