"""Where the tensors of an ONNX graph lie: in its own file, or in which file beside it.

Reads the fields of `onnx.proto` that lead to tensors, and nothing of their values.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ctxembed.checkpoint import NO_WEIGHTS
from ctxembed.errors import ModelLoadError

_SAMPLE_BYTES = 4096

# Which fields of a message hold messages that lead to tensors: of what kind each is.
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_RAW_DATA, _EXTERNAL_DATA = 9, 13
_WIDTHS = {1: 8, 5: 4}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor's bytes begin: in a file beside the graph, or in it where `file` is empty."""

    file: str
    start: int
    size: int


def tensor_places(graph: Path) -> list[Place]:
    """Return where the tensors of a graph lie, each outside of the graph in a file beside it.

    Raises:
        ModelLoadError: no ONNX file, or one whose data lie where no digest of the directory looks.
    """
    try:
        with (
            graph.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            places = list(_places(data, 0, len(data), "model"))
    except (OSError, ValueError, LookupError) as error:
        raise ModelLoadError(
            f"{graph} can't be loaded ({type(error).__name__}). Hint: fetch it again."
        ) from error
    for name in {place.file for place in places}:
        if {"/", "\\", ":"} & {*name} or Path(name).suffix in NO_WEIGHTS:
            raise ModelLoadError(
                f"{graph} has its data in {name!r}. Only files beside the graph, by their bare "
                "names, are read, and none of .json, .md, .py, .safetensors or .txt. Hint: save "
                "the graph with its data beside it, as model.onnx_data."
            )
    return places


def graph_digest(graph: Path) -> str:
    """Return a hash of the beginning of every tensor of a graph, wherever it lies."""
    digest = blake2b(digest_size=16)
    places = tensor_places(graph)
    for name in sorted({place.file for place in places}):
        path = graph.parent / name if name else graph
        if not path.is_file():
            continue  # who loads it says so
        with path.open("rb") as file:
            for place in places:
                if place.file == name:
                    file.seek(place.start)
                    digest.update(file.read(min(place.size, _SAMPLE_BYTES)))
    return digest.hexdigest()


def _places(data: mmap.mmap, start: int, stop: int, kind: str) -> Iterator[Place]:
    external: dict[bytes, bytes] = {}
    for number, begin, end in _fields(data, start, stop):
        if kind == "tensor" and number == _RAW_DATA:
            yield Place("", begin, end - begin)
        elif kind == "tensor" and number == _EXTERNAL_DATA:
            entry = {key: data[one:two] for key, one, two in _fields(data, begin, end)}
            external[entry.get(1, b"")] = entry.get(2, b"")
        elif number in _INSIDE.get(kind, {}):
            yield from _places(data, begin, end, _INSIDE[kind][number])
    if external:
        offset, size = (int(external.get(key) or 0) for key in (b"offset", b"length"))
        yield Place(external.get(b"location", b"").decode(), offset, size or _SAMPLE_BYTES)


def _fields(data: mmap.mmap, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Give number, start and stop of each field of a message that has a length of its own."""
    while start < stop:
        key, start = _varint(data, start)
        width = key & 7
        if width == 2:  # noqa: PLR2004 - strings, bytes and messages
            size, start = _varint(data, start)
            if start + size > stop:
                raise ValueError("a field ends behind its message")
            yield key >> 3, start, start + size
            start += size
        elif width == 0:
            _, start = _varint(data, start)
        else:
            start += _WIDTHS[width]


def _varint(data: mmap.mmap, start: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[start]
        start += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the last byte has no continuation bit
            return value, start
