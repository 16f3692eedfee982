"""The origin of the vectors in a file: what they were made with, kept in the file's metadata.

The address of the API is never kept: a file from elsewhere must not decide where a key is sent. Nor
is the cache, which changes no vector and belongs to a machine.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from ctxembed.errors import InputError
from ctxembed.settings import Settings
from ctxembed.version import VERSION

_SETTINGS = b"ctxembed.settings"
_FINGERPRINT = b"ctxembed.fingerprint"
_DIMENSIONS = b"ctxembed.dimensions"
_VERSION = b"ctxembed.version"
_NEVER_STORED = ("base_url", "cache", "cache_bytes")


@dataclass(frozen=True, slots=True)
class Origin:
    """Settings, their fingerprint, the dimensions that the model gave, the version of ctxembed."""

    settings: Settings
    fingerprint: str
    dimensions: int
    version: str = VERSION

    @classmethod
    def of(cls, settings: Settings, fingerprint: str, dimensions: int) -> Self:
        """Return the origin of an embedder's vectors; a directory is named by its full path."""
        settings = replace(settings.without_cache(), base_url=None)
        if Path(settings.model).is_dir():
            settings = replace(settings, model=str(Path(settings.model).resolve()))
        return cls(settings, fingerprint, dimensions)

    def to_metadata(self) -> dict[bytes, bytes]:
        """Return the entries that `from_metadata` reads."""
        values = {k: v for k, v in self.settings.to_dict().items() if k not in _NEVER_STORED}
        return {
            _SETTINGS: json.dumps(values).encode(),
            _FINGERPRINT: self.fingerprint.encode(),
            _DIMENSIONS: str(self.dimensions).encode(),
            _VERSION: self.version.encode(),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes]) -> Self:
        """Return the origin that a file's metadata has, or raise `InputError`."""
        version = metadata.get(_VERSION, b"unknown").decode(errors="replace")
        try:
            values = json.loads(metadata[_SETTINGS])
            values = {k: v for k, v in values.items() if k not in _NEVER_STORED}
            values.setdefault("neighbour_weight", 0)  # files are older than this setting
            settings = Settings.from_dict(values)
            fingerprint = metadata[_FINGERPRINT].decode()
            return cls(settings, fingerprint, int(metadata[_DIMENSIONS]), version)
        except KeyError:
            raise InputError(
                "does not name the model that made it: it is not from `ctxembed embed`."
            ) from None
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f"names settings that this version does not know. It is from ctxembed {version}, "
                f"this is {VERSION}: install that version, or embed again."
            ) from error
