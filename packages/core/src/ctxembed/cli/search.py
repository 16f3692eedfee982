"""`ctxembed search`: the chunks nearest to a query, in what `ctxembed embed` wrote."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ctxembed.cli.plurals import counted
from ctxembed.embedder import Embedder
from ctxembed.errors import ConfigurationError
from ctxembed.settings import Settings

if TYPE_CHECKING:
    from ctxembed.cli.nearest_chunks import Hit
    from ctxembed.files.origin import Origin
    from ctxembed.files.parquet import Rows

_JOINERS = "\u200c\u200d"
"""Zero-width non-joiner and joiner, which shape words of some scripts, and emoji."""


def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    *,
    paths: Annotated[
        list[Path],
        typer.Option(
            "--in",
            metavar="FILE|DIR",
            help="A .parquet file or a directory from `ctxembed embed`.",
        ),
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="How many chunks to show.")] = 5,
    model: Annotated[
        str | None,
        typer.Option(help="Where the same model is now; another model is refused."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...")] = None,
    base_url: Annotated[
        str | None,
        typer.Option(help="Address of the API; without it PERPLEXITY_BASE_URL, or the vendor's."),
    ] = None,
) -> None:
    """Show the chunks nearest to a query, by cosine, or by Hamming distance for binary vectors.

    The query is embedded with the model and settings that the file names. It is an error if the
    weights found now would give other vectors than those in the file. The file does not name the
    address of the API: give it with --base-url, or with the variable.
    """
    from ctxembed.cli.nearest_chunks import BITS, nearest

    path, *others = paths
    if others:
        raise ConfigurationError(
            f"--in names {len(paths)} inputs, and one is searched at a time. Hint: search each."
        )
    with _opened(path) as (origin, rows):
        settings = _settings(origin, path, model, device)
        with Embedder.open(replace(settings, base_url=base_url)) as embedder:
            vector = embedder.embed_query(query)
        hits = nearest(vector, rows, settings.encoding, k)
    _show(hits, "differing bits" if settings.encoding in BITS else "cosine")


@contextmanager
def _opened(path: Path) -> Iterator[tuple["Origin", "Iterator[Rows]"]]:
    """Give the origin and the rows of a file or a directory."""
    if path.is_dir() and path.suffix != ".parquet":  # as the name of OUT tells
        from ctxembed.bulk.status import read_rows

        manifest, rows, missing = read_rows(path)
        if missing:
            print(f"note: {counted(len(missing), 'shard')} missing in {path}", file=sys.stderr)
        yield manifest.origin, rows
        return
    from ctxembed.files.parquet import open_vectors

    with open_vectors(path) as stored:
        yield stored.origin, stored.rows()


def _settings(origin: "Origin", path: Path, model: str | None, device: str | None) -> Settings:
    """Return the file's settings, or raise where they would give other vectors now."""
    stored = origin.settings
    settings = replace(stored, model=model or stored.model, device=device or stored.device)
    if settings.fingerprint() == origin.fingerprint:
        return settings
    if Path(settings.model).is_absolute() and not Path(settings.model).is_dir():
        reason = f"{settings.model} does not exist any more. Hint: --model says where it is now."
    elif model is not None:
        reason = f"{model} would give other vectors. Hint: leave --model out."
    else:
        reason = f"{settings.model} has changed since. Hint: embed again."
    raise ConfigurationError(f"{path} was embedded with {stored.model}, and {reason}")


def _show(hits: "list[Hit]", measure: str) -> None:
    if not sys.stdout.isatty():
        for hit in hits:
            print(f"{hit.score:.6g}", _one_line(hit.id), hit.index, _one_line(hit.text), sep="\t")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column(measure, justify="right", no_wrap=True)
    table.add_column("id", overflow="fold", max_width=30)
    table.add_column("chunk", justify="right", no_wrap=True)
    table.add_column("text", overflow="ellipsis", no_wrap=True, ratio=1)
    for hit in hits:
        score = f"{hit.score:.4f}" if measure == "cosine" else str(hit.score)
        table.add_row(score, Text(_one_line(hit.id)), str(hit.index), Text(_one_line(hit.text)))
    Console().print(table)


def _one_line(text: str) -> str:
    """Return text without line breaks, tabs, and control characters; words keep their joiners."""
    plain = "".join(char if char.isprintable() or char in _JOINERS else " " for char in text)
    return " ".join(plain.split())
