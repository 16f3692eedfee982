"""The cache of vectors: finished rows by the document that they were made with.

`entry` is what is kept of a document, `document_cache` finds and keeps the documents of one recipe,
`sqlite_cache` keeps bytes in a folder, and `sqlite_file` knows the file there. Where documents are
looked up and put back is decided in `planning` and `assembly`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol


class VectorCache(Protocol):
    """A place for bytes under keys; many threads and processes may use it at once.

    It never raises: what it cannot read is not there, and what it cannot keep is left out.
    """

    def get(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Return what is kept under those of the keys that are there."""

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep the entries: all of them, or none where something fails."""

    def close(self) -> None:
        """Let go of files and connections; a second call does nothing."""
