"""An evaluation from a collection to its comparison: chunks, vectors, figures."""

from dataclasses import replace

from ctxembed.embedder import Embedder
from ctxembed.errors import ConfigurationError
from ctxembed.evaluation.collection import Collection
from ctxembed.evaluation.comparison import compare
from ctxembed.evaluation.corpus import Corpus, by_tokens, cut
from ctxembed.evaluation.provenance import provenance
from ctxembed.evaluation.result import Comparison
from ctxembed.evaluation.run import Run
from ctxembed.evaluation.shared_vectors import SharedVectors, Watch
from ctxembed.evaluation.sweep import Variant, Varied, variants
from ctxembed.settings import Settings
from ctxembed.windows import layout_for

CHUNK_TOKENS = 64

NEIGHBOUR_WEIGHT = 0.5
"""How much of the neighbours' mean direction the free way adds: what did best by itself."""


def evaluate(
    collection: Collection,
    settings: Settings,
    *,
    chunk_tokens: int = CHUNK_TOKENS,
    vary: Varied | None = None,
    seed: int = 0,
    command: str = "",
    watch: Watch = lambda *_: None,
) -> Comparison:
    """Compare chunks alone, with context and with their neighbours, and the settings of a sweep.

    `vary` has values by name: every combination is a run of its own. `seed` is for the draws of the
    intervals, `command` is what the report says would make it again. `watch` is told how far the
    run is. What runs share is read once; with `settings.cache` also by later calls.

    Raises:
        ConfigurationError: the model or a setting cannot be used.
        InputError: a document or query cannot be embedded, or no query has a relevant chunk.
        BackendError: the model gave no vectors.
    """
    alone = replace(settings, context_weight=0.0, neighbour_weight=None)
    with Embedder.open(settings) as contextual, Embedder.open(alone) as independent:
        runs = embed_runs(collection, contextual, chunk_tokens, vary or {}, watch)
        known = provenance(
            collection,
            contextual,
            independent,
            chunk_tokens=chunk_tokens,
            seed=seed,
            command=command,
        )
    return compare(runs, seed=seed, provenance=known)


def embed_runs(
    collection: Collection, embedder: Embedder, chunk_tokens: int, vary: Varied, watch: Watch
) -> list[Run]:
    """Return the runs of the methods, in their order, and those of a sweep that are not the same.

    There is no contextual run where the model's weight, or the one asked for, is 0.
    """
    settings, spec = embedder.settings, embedder.backend.spec
    alone = replace(settings, context_weight=0.0, neighbour_weight=None)
    named = {
        "independent": alone,
        "contextual": settings,
        "neighbours": replace(alone, neighbour_weight=NEIGHBOUR_WEIGHT),
    }
    if not layout_for(settings, spec).context_weight:
        del named["contextual"]
    wanted = [(name, Variant(each, chunk_tokens)) for name, each in named.items()]
    wanted += [("", each) for each in variants(Variant(settings, chunk_tokens), vary)]
    limit = layout_for(settings, spec).max_tokens
    for _, variant in wanted:
        if variant.chunk_tokens > limit:
            raise ConfigurationError(
                f"chunk_tokens is {variant.chunk_tokens} and {spec.name} reads at most {limit}."
            )
    shared = SharedVectors(embedder, watch)
    corpora: dict[int, Corpus] = {}
    runs: dict[tuple[object, ...], Run] = {}
    for name, variant in wanted:
        resolved = variant.resolved(spec)
        key = tuple(resolved.values())
        if key in runs:
            continue
        size = variant.chunk_tokens
        if size not in corpora:
            corpora[size] = cut(collection, by_tokens(embedder.backend.tokenize, size))
        shown = tuple((each, _shown(resolved[each])) for each in vary)
        label = name or ", ".join(f"{each} {value}" for each, value in shown)
        run = shared.run(corpora[size], variant.settings, name=label, search=variant.search)
        runs[key] = replace(run, name=name, settings=shown)
    return [*runs.values()]


def _shown(value: object) -> str:
    return "any" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
