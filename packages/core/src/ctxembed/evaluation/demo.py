"""The demo: an evaluation of the collection that comes with the package, and its report."""

from pathlib import Path

from ctxembed.evaluation.experiment import CHUNK_TOKENS, evaluate
from ctxembed.evaluation.folders import load_collection, need_queries
from ctxembed.evaluation.html_report import report
from ctxembed.evaluation.result import Comparison
from ctxembed.evaluation.shared_vectors import Watch
from ctxembed.files.replacement import check_replaceable
from ctxembed.settings import EMBEDDED_MODEL, BackendChoice, Dtype, Settings


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
) -> Comparison:
    """Embed documents with and without context, answer their queries with each, write a report.

    `data` is a folder of your own (`load_collection` describes its layout), `out` the HTML file,
    None for no report. `seed` is for the draws of the intervals. `watch` is told how far the run
    is.

    Raises:
        ConfigurationError: the model, the folder or `out` cannot be used.
        InputError: a line of the data, or a document, cannot be used.
        BackendError: the model gave no vectors.
    """
    if out is not None:
        check_replaceable(out)
    collection = load_collection(data)
    if data is not None:
        need_queries(collection, data)
    settings = Settings(model=model, backend=backend, device=device, dtype=dtype, encoding="float")
    result = evaluate(collection, settings, chunk_tokens=chunk_tokens, seed=seed, watch=watch)
    if out is not None:
        report(result, out)
    return result
