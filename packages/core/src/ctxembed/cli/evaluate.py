"""`ctxembed evaluate`: what context is worth on your documents, and which settings to take."""

import json
import shlex
import sys
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ctxembed.cli.options import with_settings
from ctxembed.errors import ConfigurationError
from ctxembed.files.replacement import check_replaceable
from ctxembed.settings import EMBEDDED_MODEL, Settings

if TYPE_CHECKING:
    from ctxembed.evaluation import Collection

_SETTINGS = (
    *("model", "backend", "revision", "device", "dtype", "batch_tokens"),
    *("encoding", "dimensions"),
    *("window_tokens", "overlap_tokens", "context_weight", "neighbour_weight"),
    *("query_prefix", "document_prefix", "cache", "base_url", "tokenizer", "concurrency"),
)


@with_settings(*_SETTINGS, model=EMBEDDED_MODEL)
def evaluate(
    settings: Settings,
    source: Annotated[
        Path,
        typer.Argument(metavar="INPUT", help="A folder or file of documents."),
    ],
    *,
    queries: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|simulate|headings",
            help="Queries: a .jsonl file with labels, a file with a query per line to be judged by "
            "you, simulated ones, or headings that ask for their sections. By default those of "
            "INPUT, and simulated ones where it has none.",
        ),
    ] = None,
    judged: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The filled form of an earlier run, for its queries."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE,VALUE",
            help="Values of chunk_tokens, search (nearest, two_stage) or a setting; may be given "
            "several times, and every combination is measured.",
        ),
    ] = None,
    chunk_tokens: Annotated[int, typer.Option(help="The most tokens per chunk.")] = 64,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="The report, one HTML file, or the form, a .txt file. By default a name with that "
            "of INPUT and one for the settings.",
        ),
    ] = None,
    report: Annotated[bool, typer.Option(help="Write the report.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed for simulated queries and for intervals.")
    ] = 0,
) -> None:
    """Measure what context is worth on your documents, and which settings to take.

    INPUT is a folder with docs.jsonl and maybe queries.jsonl, one in BEIR's layout (corpus.jsonl,
    queries.jsonl, qrels/*.tsv), one of .txt and .md files, or a file of JSON lines.

    Chunks alone, with context and with their neighbours are compared, and the settings that --vary
    names, by quality and cost, with 95 % intervals. Text that several settings share is read once.
    """
    from rich.console import Console

    from ctxembed.cli.comparison_table import show
    from ctxembed.cli.progress import stages
    from ctxembed.evaluation import evaluate as measure
    from ctxembed.evaluation import report as write
    from ctxembed.evaluation.json_report import as_json as values
    from ctxembed.evaluation.sweep import Variant, parse_vary, variants

    varied = parse_vary(vary or [])
    variants(Variant(settings, chunk_tokens), varied)  # refuses a bad value before the work
    collection = _collection(source, queries, judged, seed)
    told = [settings.without_cache().to_dict(), varied, chunk_tokens, seed]
    told += [str(source.resolve()), str(queries), str(judged)]
    digest = blake2b(json.dumps(told).encode(), digest_size=4).hexdigest()
    stem = f"ctxembed-evaluate-{source.resolve().name or 'root'}-{digest}"
    if not any(query.answers for query in collection.queries):
        _ask(collection, settings, chunk_tokens, out or Path(f"{stem}.txt"), seed)
        return
    path = out or Path(f"{stem}.html")
    if report:
        check_replaceable(path)
    with stages() as watch:
        result = measure(
            collection,
            settings,
            chunk_tokens=chunk_tokens,
            vary=varied,
            seed=seed,
            command=shlex.join(["ctxembed", *sys.argv[1:]]),
            watch=watch,
        )
    if report:
        write(result, path)
    if as_json:
        print(json.dumps(values(result), indent=2))
        return
    show(result, Console())
    if report:
        print(f"\nReport: {path.absolute()}")


def _collection(source: Path, queries: str | None, judged: Path | None, seed: int) -> "Collection":
    """Return the documents with the queries that were asked for."""
    from ctxembed.evaluation import heading_queries, load_collection, simulate
    from ctxembed.evaluation.folders import load_queries
    from ctxembed.evaluation.judgements import judged as filled
    from ctxembed.evaluation.judgements import plain_queries

    if queries is not None and judged is not None:
        raise ConfigurationError("--queries and --judged both name queries. Hint: give one.")
    collection = load_collection(source)
    if judged is not None:
        return filled(judged, collection)
    if queries == "headings":
        return heading_queries(collection)
    if queries == "simulate" or (queries is None and not collection.queries):
        return simulate(collection, seed=seed)
    if queries is None:
        return collection
    path = Path(queries)
    labelled = ".jsonl" in path.suffixes
    found = load_queries(path, collection.documents) if labelled else plain_queries(path)
    return replace(collection, queries=found, whole=False)


def _ask(
    collection: "Collection", settings: Settings, chunk_tokens: int, path: Path, seed: int
) -> None:
    """Show the first chunk without and with context for each query, and write the form."""
    from rich.console import Console

    from ctxembed.cli.comparison_table import show_answers
    from ctxembed.cli.progress import stages
    from ctxembed.embedder import Embedder
    from ctxembed.evaluation.experiment import embed_runs
    from ctxembed.evaluation.judgements import form

    if path.exists():  # it may have been filled in
        raise ConfigurationError(f"{path} is there already. Hint: move it, or name another --out.")
    check_replaceable(path)
    with stages() as watch, Embedder.open(settings) as embedder:
        runs = embed_runs(collection, embedder, chunk_tokens, {}, watch)
    show_answers(runs, Console())
    path.write_text(form(runs, seed=seed), encoding="utf-8")
    print(f"\nNo labels, so no figures. The form to fill in: {path.absolute()}")
