"""Every error that ctxembed raises.

    EmbedError                                   catch this for everything
    +- InputError (ValueError)                   the caller's documents; never worth a retry
    |  +- EmptyChunkError
    |  +- DocumentTooLongError                   .tokens .limit
    +- ConfigurationError (ValueError)           unknown model, dimensions out of range, no key
    |  +- MissingDependencyError (ImportError)   ends with the install line
    +- BackendError                              good input, no vectors
       +- ModelLoadError                         weights or tokenizer absent or unusable
       +- DeviceMemoryError                      one window alone does not fit into the device
       +- ResponseError                          wrong counts or dimensions
       |  +- NonFiniteError                      values that are not finite, for one document
       +- ApiError                               .status_code .request_id
          +- AuthenticationError
          +- RateLimitError                      .retry_after
          +- ApiTimeoutError
          +- ApiConnectionError

Errors are values. Each carries its place: `.document` (position in the call), `.chunk` (position in
the document) and `.key` (the id that an adapter or the command line knows), None where they do not
apply. `error.at(document=...)` returns a copy with another place; nothing changes an error that
exists. Where a whole batch failed and no single document is known to be the cause, `.last_document`
ends the range. No message holds the text of a document or an API key.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self, TypedDict, Unpack

_NON_FINITE = (
    "the model gave values that are not finite. Hint: the weights may be damaged; bfloat16 and "
    "float32 are the types to use."
)


class Place(TypedDict, total=False):
    """Where an error belongs: `noun` names what is counted, "Document" unless told otherwise."""

    document: int | None
    chunk: int | None
    key: str | None
    last_document: int | None
    noun: str


class EmbedError(Exception):
    """Base of all errors here; `str()` puts the place before the message."""

    document: int | None = None
    chunk: int | None = None
    key: str | None = None
    last_document: int | None = None
    noun: str = "Document"

    def __init__(self, message: str, **place: Unpack[Place]) -> None:
        super().__init__(message)
        if unknown := place.keys() - Place.__annotations__.keys():
            raise TypeError(f"{type(self).__name__} got unexpected {', '.join(sorted(unknown))}")
        vars(self).update(place)

    def at(self, message: str | None = None, /, **place: Unpack[Place]) -> Self:
        """Return a copy of this error at another place, with the same cause and notes.

        >>> str(InputError("is empty.", document=0).at(document=3, key="report.txt"))
        "Document 3 ('report.txt'): is empty."
        """
        moved = copy.copy(self)
        vars(moved).update(place)
        if message is not None:
            moved.args = (message,)
        if hasattr(self, "__notes__"):
            moved.__notes__ = [*self.__notes__]
        moved.__cause__, moved.__context__ = self.__cause__, self.__context__
        moved.__suppress_context__ = self.__suppress_context__
        return moved

    @property
    def message(self) -> str:
        """What went wrong and what to do, without the place."""
        return str(self.args[0])

    @property
    def place(self) -> str:
        """The document and chunk in words, or an empty string."""
        if self.document is None and self.key is None:
            return "" if self.noun == "Document" else self.noun
        number = "" if self.document is None else f" {self.document}"
        if self.last_document is not None:
            return f"One of {self.noun.lower()}s{number} to {self.last_document}"
        name = "" if self.key is None else f" ({self.key!r})"
        part = "" if self.chunk is None or self.noun != "Document" else f", chunk {self.chunk}"
        return f"{self.noun}{number}{name}{part}"

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class InputError(EmbedError, ValueError):
    """The documents cannot be embedded as they are; trying again changes nothing."""


class EmptyChunkError(InputError):
    """A chunk has no text that a model could read."""


class DocumentTooLongError(InputError):
    """One chunk has more `tokens` than the model's `limit`."""

    def __init__(
        self,
        message: str,
        *,
        tokens: int | None = None,
        limit: int | None = None,
        **place: Unpack[Place],
    ) -> None:
        super().__init__(message, **place)
        self.tokens = tokens
        self.limit = limit


class ConfigurationError(EmbedError, ValueError):
    """The settings name something that does not exist or does not go together."""


class MissingDependencyError(ConfigurationError, ImportError):
    """An optional library is not installed; the message ends with the install line."""


class BackendError(EmbedError):
    """The input was good and no vectors came back."""


class ModelLoadError(BackendError):
    """Weights, configuration or tokenizer are absent or unusable."""


class DeviceMemoryError(BackendError):
    """A window does not fit into the device's memory, even alone; its batch-mates may."""


class ResponseError(BackendError):
    """What came back has the wrong number of rows, the wrong width, or is not finite."""


class NonFiniteError(ResponseError):
    """The model gave NaN or infinity for a document; its batch-mates may be fine."""

    def __init__(self, message: str = _NON_FINITE, **place: Unpack[Place]) -> None:
        super().__init__(message, **place)


class ApiError(BackendError):
    """The remote side refused, with its HTTP `status_code` and `request_id` where known."""

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        request_id: str | None = None,
        **place: Unpack[Place],
    ) -> None:
        super().__init__(message, **place)
        self.status_code = status_code
        self.request_id = request_id


class AuthenticationError(ApiError):
    """The key is missing, wrong, or lacks the right."""


class RateLimitError(ApiError):
    """Too many requests; `retry_after` is in seconds where the server said."""

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        status_code: int | None = None,
        request_id: str | None = None,
        **place: Unpack[Place],
    ) -> None:
        super().__init__(message, status_code=status_code, request_id=request_id, **place)
        self.retry_after = retry_after


class ApiTimeoutError(ApiError):
    """No answer within the time allowed."""


class ApiConnectionError(ApiError):
    """No connection, or it broke off."""


OF_ONE_DOCUMENT = (InputError, NonFiniteError, DeviceMemoryError)
"""Errors of a batch that one of its documents can be the cause of; the others may be fine."""


@contextmanager
def located_errors(locate: Callable[[int], tuple[int, str | None]], unit: str) -> Iterator[None]:
    """Raise the errors of an embedder's call at the place that its caller knows.

    `locate` takes the number of a document in that call, and returns the number that the caller
    counts it by and its key. `unit` is the word for what these numbers count. Where an error is
    about a range of documents, a note has the first and the last key.
    """
    try:
        yield
    except EmbedError as error:
        if error.document is None:
            raise
        number, key = locate(error.document)
        moved = error.at(document=number, key=key)
        if error.last_document is not None:
            last_number, last_key = locate(error.last_document)
            moved = moved.at(last_document=last_number)
            moved.add_note(f"Documents are counted by {unit}: {key!r} to {last_key!r}.")
        raise moved from error.__cause__


@contextmanager
def errors_about_queries(*, one: bool = False) -> Iterator[None]:
    """Let errors speak of queries; without a number where there is `one` only."""
    try:
        yield
    except EmbedError as error:
        number = None if one else error.document
        message = None
        if isinstance(error, DocumentTooLongError) and error.tokens is not None:
            message = (
                f"has {error.tokens} tokens and the model reads {error.limit}. Hint: shorten it, "
                'or set long_queries="pool" to average over its parts.'
            )
        raise error.at(message, noun="Query", document=number) from error.__cause__
