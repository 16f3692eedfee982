"""The documents that are measured: those of a file, as for `ctxembed embed`, or those shipped."""

from collections.abc import Iterator
from pathlib import Path

from ctxembed.documents import check_document
from ctxembed.errors import ConfigurationError, EmbedError, InputError
from ctxembed.evaluation.folders import load_collection
from ctxembed.files.documents import Document, Failure, Split, failure, read_documents


def name_of(data: Path | None) -> str:
    """Return the name of the documents in tables and errors."""
    return "the demo's fairy tales" if data is None else str(data)


def count_documents(data: Path | None) -> int:
    """Return how many documents there are, without checking them.

    Raises:
        ConfigurationError: standard input, which can be read only once.
        InputError: there are none.
    """
    if data is None:
        return len(load_collection().documents)
    if str(data) == "-":
        raise ConfigurationError(
            "--data is read by each measuring process, so it cannot be standard input. Hint: save "
            "it to a file."
        )
    with data.open("rb") as file:
        found = sum(1 for line in file if line.strip())
    if not found:
        raise InputError(f"{data}: there are no documents.")
    return found


def check_first(data: Path | None) -> None:
    """Refuse a file whose first line is no document, before a model is loaded for it.

    Raises:
        InputError: the message names file and line.
    """
    if data is not None:
        next(documents(data, lambda text: [text]), None)


def documents(data: Path | None, split: Split) -> Iterator[Document]:
    """Yield documents in order, checked; texts are cut by `split`, one at a time.

    Those shipped come by length, those of a file in its order.

    Raises:
        InputError: a line is no document; the message names file and line.
    """
    if data is None:
        # the short ones first: on a slow machine one of the long ones takes minutes
        shipped = sorted(load_collection().documents, key=lambda each: len(each.text))
        for number, each in enumerate(shipped, 1):
            yield Document(number, each.id, split(each.text))
        return
    with data.open("rb") as file:
        for document in read_documents(file, split):
            if isinstance(document, Failure):
                raise InputError(f"{data}, {document}")
            try:
                check_document(document.chunks, 0, "error")
            except EmbedError as error:
                raise placed(error, document, data) from None
            yield document


def placed(error: EmbedError, document: Document, data: Path | None) -> InputError:
    """Return an error of one document as one that names its line, id and chunk."""
    return InputError(f"{name_of(data)}, {failure(document.line, error, document.id)}")
