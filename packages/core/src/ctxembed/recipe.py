"""What settings and a model decide together, once for all calls: `Recipe`."""

from dataclasses import dataclass, replace

from ctxembed.backends import Backend
from ctxembed.documents import TokenizedChunk
from ctxembed.encoding import Encoding, Form, form_for
from ctxembed.errors import ConfigurationError
from ctxembed.models import Quantizer
from ctxembed.settings import EmptyChunks, Settings
from ctxembed.windows import Layout, layout_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything between chunks and stored vectors that is the same in all calls."""

    layout: Layout
    form: Form
    encoding: Encoding
    quantizer: Quantizer
    width: int
    dimensions: int
    unit: bool
    empty: EmptyChunks
    prefix: TokenizedChunk | None = None


def document_recipe(settings: Settings, backend: Backend) -> Recipe:
    """Return the recipe for documents; what does not go together is a `ConfigurationError`."""
    spec = backend.spec
    text = spec.document_prefix if settings.document_prefix is None else settings.document_prefix
    prefix = backend.tokenize([text])[0] if text else None
    layout = layout_for(settings, spec, prefix.count if prefix else 0)
    return _recipe(settings, backend, layout, prefix)


def query_recipe(settings: Settings, backend: Backend) -> Recipe:
    """Return the recipe for queries: each alone, without the prefix that documents get."""
    layout = layout_for(settings, backend.spec)
    layout = replace(layout, context_weight=0.0, neighbour_weight=0.0)
    return _recipe(settings, backend, layout, None)


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
            'long_chunks="error", or local weights.'
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
