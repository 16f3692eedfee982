"""The demo from its data to its report: chunks, vectors, findings."""

from pathlib import Path

from ctxembed.embedder import Embedder
from ctxembed.errors import ConfigurationError
from ctxembed.evaluation.corpus import cut
from ctxembed.evaluation.dataset import load_data
from ctxembed.evaluation.findings import find
from ctxembed.evaluation.provenance import provenance
from ctxembed.evaluation.report import write_report
from ctxembed.evaluation.result import DemoResult
from ctxembed.evaluation.vectors import Watch, embed_by_methods, embed_queries
from ctxembed.files.replacement import check_replaceable
from ctxembed.settings import EMBEDDED_MODEL, BackendChoice, Dtype, Settings
from ctxembed.windows import layout_for

CHUNK_TOKENS = 64


def run_demo(
    model: str = EMBEDDED_MODEL,
    data: Path | None = None,
    *,
    chunk_tokens: int = CHUNK_TOKENS,
    out: Path | None = Path("ctxembed-demo.html"),
    backend: BackendChoice = "auto",
    device: str | None = None,
    dtype: Dtype = "auto",
    seed: int = 0,
    watch: Watch = lambda *_: None,
) -> DemoResult:
    """Embed documents with and without context, answer their queries with each, write a report.

    `data` is a folder of your own (`dataset` describes its layout), `out` the HTML file, None for
    no report. `seed` is for the draws of the intervals. `watch` is told how far the run is.

    Raises:
        ConfigurationError: the model, the folder or `out` cannot be used.
        InputError: a line of the data, or a document, cannot be used.
        BackendError: the model gave no vectors.
    """
    if out is not None:
        check_replaceable(out)
    dataset = load_data(data)
    settings = Settings(model=model, backend=backend, device=device, dtype=dtype, encoding="float")
    with (
        Embedder.open(settings) as contextual,
        Embedder.open(settings, context_weight=0.0) as independent,
    ):
        _check_chunk_tokens(chunk_tokens, independent)
        corpus = cut(dataset, independent.backend.tokenize, chunk_tokens)
        questions = embed_queries(independent, [query.text for query in corpus.queries], watch)
        vectors = embed_by_methods(corpus, contextual, independent, watch)
        known = provenance(dataset, contextual, independent, chunk_tokens=chunk_tokens, seed=seed)
    result = find(dataset, corpus, vectors, questions, provenance=known, seed=seed)
    if out is not None:
        write_report(result, out)
    return result


def _check_chunk_tokens(chunk_tokens: int, embedder: Embedder) -> None:
    spec = embedder.backend.spec
    limit = layout_for(embedder.settings, spec).max_tokens
    if chunk_tokens > limit:
        raise ConfigurationError(
            f"chunk_tokens is {chunk_tokens} and {spec.name} reads at most {limit}."
        )
