"""`ctxembed status`: what a directory of vectors holds, and what a run would do."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ctxembed.cli.error_reports import SOME_SKIPPED
from ctxembed.settings import Settings


def status(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A directory from `ctxembed embed`.")
    ],
    *,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="INPUT",
            help="Say what `ctxembed embed INPUT -o DIR` would do; may be given several times.",
        ),
    ] = None,
) -> None:
    """Show what a directory of vectors holds, or what a run with an input would change; no model.

    Exit code: 1 where shards are missing or damaged, or documents of INPUT cannot be embedded.
    """
    complete = _show_changes(directory, sources) if sources else _show(directory)
    if not complete:
        raise typer.Exit(SOME_SKIPPED)


def _show(directory: Path) -> bool:
    """Print what a directory holds, and tell whether all of it is there."""
    from ctxembed.bulk.status import read_status

    found = read_status(directory)
    manifest = found.manifest
    lines = {
        "documents": f"{found.documents:,}",
        "chunks": f"{found.chunks:,}",
        "shards": f"{found.shards:,}",
        "settings": json.dumps(_chosen(manifest.origin.settings)),
        "fingerprint": manifest.fingerprint,
        **manifest.made_with,
        "chunk_tokens": manifest.chunk_tokens,
        "kept": ", ".join(manifest.keep),
    }
    for name, value in lines.items():
        print(f"{name}\t{value}")
    for name in found.missing:
        print(f"missing\t{name}")
    for reason in found.damaged:
        print(f"damaged\t{reason}")
    return not (found.missing or found.damaged)


def _show_changes(directory: Path, sources: list[str]) -> bool:
    """Print what a run would change, and tell whether all documents can be embedded."""
    from ctxembed.bulk.status import read_changes

    changes, failed = read_changes(directory, sources)
    for name, label in _LABELS.items():
        print(f"{label}\t{getattr(changes, name):,}")
    for each in failed:
        print(f"cannot be embedded\t{each}")
    return not failed


_LABELS = {
    "new": "new",
    "changed": "changed",
    "gone": "not in the input",
    "same": "as they were",
    "embedded": "to embed",
}


def _chosen(settings: Settings) -> dict[str, object]:
    """Return the settings that are not the default, and the model."""
    usual = Settings(model=settings.model).to_dict()
    given = settings.to_dict().items()
    return {name: value for name, value in given if name == "model" or value != usual[name]}
