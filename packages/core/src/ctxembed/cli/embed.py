"""`ctxembed embed`: its options, and whether OUT is a file or a directory."""

from pathlib import Path
from typing import Annotated

import typer

from ctxembed.cli.embed_file import embed_file, only_input
from ctxembed.cli.options import with_settings
from ctxembed.errors import ConfigurationError
from ctxembed.settings import Settings

_SUFFIXES = (".parquet", ".jsonl")
_PANEL = "Directory"
_SHARD_DOCUMENTS = 200


@with_settings()
def embed(
    settings: Settings,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="JSON lines (also .gz, .zst), Parquet, a directory of these or of .txt and .md "
            "files, a pattern, or - for standard input.",
        ),
    ],
    *,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="A .parquet or .jsonl file, a directory of shards, or - for standard output.",
        ),
    ] = "-",
    chunk_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help='The most tokens per chunk, where a line has "text"; without it 256, or a quarter '
            "of a shorter window.",
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(min=1, rich_help_panel=_PANEL, help="Processes with a model each."),
    ] = 1,
    shard_documents: Annotated[
        int | None,
        typer.Option(
            min=1,
            rich_help_panel=_PANEL,
            help=f"About how many documents a shard has, {_SHARD_DOCUMENTS} by default. A run that "
            "is killed loses one shard per worker at most.",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel=_PANEL,
            help="A column of the input that is carried along; may be given several times.",
        ),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", rich_help_panel=_PANEL, help="Remove documents that are not in the input."
        ),
    ] = False,
    reshard: Annotated[
        bool,
        typer.Option(
            "--reshard",
            rich_help_panel=_PANEL,
            help="First spread the rows over more shards, without embedding.",
        ),
    ] = False,
    errors: Annotated[
        str,
        typer.Option(
            metavar="raise|skip",
            rich_help_panel="Bad input",
            help="raise stops at the first bad line and writes nothing; skip writes the others.",
        ),
    ] = "raise",
    progress: Annotated[
        bool | None,
        typer.Option(
            help="Show a bar; by default on a terminal. Where standard error is none, a line about "
            "every half minute, unless --no-progress is given."
        ),
    ] = None,
) -> None:
    """Embed documents, each chunk with the other chunks of its document in view.

    A line of INPUT is a document: {"id": "a", "chunks": ["one", "two"]}, or
    {"id": "a", "text": "..."}, which is split at sentences; an empty text gives no vectors. The id
    is a string, and each document has its own. Other names on a line are ignored, and so are blank
    lines. A Parquet file has these as columns. The id of a .txt or .md file is its path.

    OUT is a directory where its name has no suffix or ends with /. It holds shards, one row per
    chunk, which other programs read as DIR/data. The same command continues a run that was stopped
    and updates what has changed: documents whose chunks are as they were are not embedded again.

    A .parquet file has one row per chunk (id, chunk_index, text, embedding) and names the settings,
    so that `ctxembed search` can use it. A .jsonl file has one document per line, as {"id",
    "embeddings"}. A file takes one INPUT and appears when it is complete. Until then, and when
    anything fails, an older file of that name stays as it is.

    With --errors skip, lines that no model could embed are listed in OUT.errors.jsonl
    (ctxembed.errors.jsonl for standard output, errors.jsonl in a directory) with line number, id
    and reason. A failing model, key or network ends the run all the same.

    Exit codes: 0 everything was written, 1 some lines were skipped, 2 the command stopped or no
    line could be used.
    """
    if errors not in ("raise", "skip"):
        raise ConfigurationError(f"errors is 'raise' or 'skip', got {errors!r}.")
    _check_zero_rows(settings)
    if _is_directory(out):
        from ctxembed.bulk.run import Options
        from ctxembed.cli.embed_directory import embed_into

        options = Options(
            chunk_tokens=chunk_tokens,
            shard_documents=shard_documents,
            keep=tuple(keep or ()),
            workers=workers,
            prune=prune,
            skip=errors == "skip",
        )
        embed_into(Path(out), sources, settings, options, reshard=reshard, progress=progress)
        return
    given = {
        "--workers": workers > 1,
        "--shard-documents": shard_documents,
        "--keep": keep,
        "--prune": prune,
        "--reshard": reshard,
    }
    for name in (name for name, value in given.items() if value):
        raise ConfigurationError(f"{name} is for a directory as OUT. Hint: -o vectors/")
    embed_file(
        settings,
        only_input(sources),
        Path(out),
        chunk_tokens=chunk_tokens,
        skip=errors == "skip",
        progress=progress,
    )


def _is_directory(out: str) -> bool:
    """Tell whether OUT is a directory; a name that says neither is refused."""
    path = Path(out)
    if out.endswith("/"):
        return True
    if out == "-" or path.suffix in _SUFFIXES:
        return False
    if path.is_dir() or not path.suffix:
        return True
    raise ConfigurationError(
        f"{out}: the name has to end in {' or '.join(_SUFFIXES)}. Hint: that of a directory has no "
        "suffix, or ends with /."
    )


def _check_zero_rows(settings: Settings) -> None:
    if settings.encoding == "ubinary" and settings.empty == "zero":
        raise ConfigurationError(
            "a zero row in packed bits looks like the vector of a text, so --empty zero cannot be "
            "used with --encoding ubinary. Hint: --encoding int8 or binary, or leave --empty out."
        )
