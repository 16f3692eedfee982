"""`EmbedBatch`: one function over Arrow data, for the engines that call functions on batches.

An engine pickles it, calls it in many processes and puts the batches together; how it does that is
left to it. `docs/bulk.md` has a recipe for each.
"""

from collections.abc import Sequence
from contextlib import closing
from itertools import accumulate
from typing import Any, TypeVar, Unpack, cast

import numpy as np
import pyarrow as pa

from ctxembed.assembly import Outcome
from ctxembed.errors import ConfigurationError, EmbedError, InputError
from ctxembed.lazy import LazyEmbedder
from ctxembed.settings import Settings
from ctxembed.settings_keywords import SettingsKeywords

Batch = TypeVar("Batch")
"""A pyarrow Table or RecordBatch, or a pandas DataFrame."""

_OPEN = LazyEmbedder()
"""The embedders of this process: an engine may unpickle the same function for every batch."""


class EmbedBatch:
    """Embeds a column of documents, each a list of chunks, in Arrow data or a pandas DataFrame.

    `out` gets one list of vectors per document: lists of int8, of uint8 for ubinary, of float32 for
    float or with normalize. Where a document cannot be embedded, `out` is null and `error` says
    why; elsewhere `error` is null. Columns of these names are replaced, all others stay.

    The model is opened by the first batch, once per process. It is no part of a pickle or a copy.
    A key for the API is read from the environment of the process.
    """

    def __init__(
        self,
        column: str = "chunks",
        out: str = "embeddings",
        error: str = "error",
        **settings: Unpack[SettingsKeywords],
    ) -> None:
        """Take the names of columns, and settings by their names.

        Raises:
            ConfigurationError: A setting is not known, or no model could take its value.
        """
        self.column = column
        self.out = out
        self.error = error
        self.settings = Settings.from_dict(settings)

    @property
    def type(self) -> pa.DataType:
        """The type of the column `out`."""
        return pa.list_(pa.list_(_number(self.settings)))

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch with vectors and errors.

        Raises:
            ConfigurationError: There is no such column, or it holds no lists; a setting or a key.
            EmbedError: The model or the network failed: trying again may help.
        """
        if isinstance(batch, pa.Table | pa.RecordBatch):
            return cast(Batch, self._embedded(batch))
        frame: Any = batch
        table = self._embedded(pa.Table.from_pandas(frame, preserve_index=False))
        return cast(Batch, table.to_pandas().set_axis(frame.index))

    def _embedded(self, batch: pa.Table | pa.RecordBatch) -> pa.Table | pa.RecordBatch:
        outcomes: list[Outcome] = []
        documents = self._documents(batch)
        if documents:
            with closing(_OPEN.get(self.settings).stream(documents, errors="return")) as found:
                outcomes = [_checked(outcome) for outcome in found]
        failed = [str(each) if isinstance(each, EmbedError) else None for each in outcomes]
        batch = _with_column(batch, self.out, _lists(outcomes, self.type))
        return _with_column(batch, self.error, pa.array(failed, pa.string()))

    def _documents(self, batch: pa.Table | pa.RecordBatch) -> list[list[str]]:
        if self.column not in batch.schema.names:
            raise ConfigurationError(
                f"there is no column {self.column!r} in {batch.schema.names}. Hint: "
                "EmbedBatch(column=...) names the one with the chunks."
            )
        documents: list[list[str]] = batch.column(self.column).to_pylist()
        if any(isinstance(each, str) for each in documents):
            raise ConfigurationError(
                f"column {self.column!r} holds strings, and a document is a list of chunks. Hint: "
                "split texts first, or make lists of one chunk each."
            )
        return documents


def _checked(outcome: Outcome) -> Outcome:
    """Return the outcome of a document; what is no fault of its own is raised."""
    if isinstance(outcome, EmbedError) and not isinstance(outcome, InputError):
        raise outcome
    return outcome


def _lists(outcomes: Sequence[Outcome], kind: pa.DataType) -> pa.Array:
    """Return one list of vectors per document, null for an error."""
    failed = [isinstance(each, EmbedError) for each in outcomes]
    arrays = [each for each in outcomes if not isinstance(each, EmbedError)]
    if not arrays:
        return pa.nulls(len(outcomes), kind)
    flat = pa.array(np.concatenate(arrays).ravel(), kind.value_type.value_type)
    width = arrays[0].shape[1]
    vectors = pa.ListArray.from_arrays(pa.array(range(0, len(flat) + 1, width), pa.int32()), flat)
    counts = [0 if isinstance(each, EmbedError) else len(each) for each in outcomes]
    ends = pa.array([0, *accumulate(counts)], pa.int32())
    return pa.ListArray.from_arrays(ends, vectors, mask=pa.array(failed))


def _with_column(
    batch: pa.Table | pa.RecordBatch, name: str, column: pa.Array
) -> pa.Table | pa.RecordBatch:
    """Return a batch with a column, in the place of one of that name."""
    number = batch.schema.get_field_index(name)
    if number < 0:
        return batch.append_column(name, column)
    return batch.set_column(number, name, column)


def _number(settings: Settings) -> pa.DataType:
    if settings.normalize or settings.encoding == "float":
        return pa.float32()
    return pa.uint8() if settings.encoding == "ubinary" else pa.int8()
