"""The error tree: places, pickling, and the public names."""

import copy
import pickle

import pytest

import ctxembed
from ctxembed import errors

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, Exception)
]


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_travel(cls):
    """Pickled or copied, an error keeps its class, message and fields."""
    error = cls("is wrong.", document=3, chunk=1, key="a.pdf")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is cls
        assert str(twin) == "Document 3 ('a.pdf'), chunk 1: is wrong."
        assert vars(twin) == vars(error)


def test_the_tree():
    """Builtin bases, so that plain `except ValueError` keeps working."""
    assert issubclass(ctxembed.DocumentTooLongError, ctxembed.InputError)
    assert issubclass(ctxembed.InputError, ValueError)
    assert issubclass(ctxembed.ConfigurationError, ValueError)
    assert issubclass(ctxembed.MissingDependencyError, ImportError)
    assert all(issubclass(cls, ctxembed.EmbedError) for cls in CLASSES)
    assert {cls.__name__ for cls in CLASSES} <= set(ctxembed.__all__)
    assert all(cls.__name__ in (errors.__doc__ or "") for cls in CLASSES)


def test_public_names():
    """`__all__` is what the package has, in order."""
    assert len(set(ctxembed.__all__)) == len(ctxembed.__all__)
    assert all(hasattr(ctxembed, name) for name in ctxembed.__all__)


def test_an_error_is_a_value():
    """`at` gives a copy with another place, the same kind, cause and notes; the first one stays."""
    cause = KeyError("x")
    first = errors.DocumentTooLongError("is too long.", tokens=9, limit=5, document=1, chunk=2)
    first.__cause__ = cause
    first.add_note("noted")
    moved = first.at(document=7, key="report.txt")
    moved.add_note("another")

    assert (first.document, first.chunk, first.key) == (1, 2, None)
    assert (moved.document, moved.chunk, moved.key) == (7, 2, "report.txt")
    assert (type(moved), moved.tokens, moved.limit) == (errors.DocumentTooLongError, 9, 5)
    assert moved.__cause__ is cause
    assert ["noted"] == first.__notes__
    assert "Document 7 ('report.txt'), chunk 2: is too long." == str(moved)
    assert str(pickle.loads(pickle.dumps(moved))) == str(moved)
    with pytest.raises(TypeError, match="where"):
        errors.DocumentTooLongError("x", where=3)


def test_an_error_is_raised_where_the_caller_counts_it():
    """The original stays as it was; cause and fields go along."""
    reason = OSError("no route")
    given = errors.ApiError("refused.", status_code=503, document=1, chunk=2)
    with (
        pytest.raises(errors.ApiError) as caught,
        errors.located_errors(lambda number: (number + 10, f"source {number}"), "chunk"),
    ):
        raise given from reason
    assert str(caught.value) == "Document 11 ('source 1'), chunk 2: refused."
    assert (caught.value.status_code, caught.value.__cause__) == (503, reason)
    assert (given.document, given.key) == (1, None)


def test_an_error_about_a_range_has_a_note_of_both_ends():
    """The place has numbers only."""
    with (
        pytest.raises(errors.BackendError) as caught,
        errors.located_errors(lambda number: (number + 10, f"source {number}"), "chunk"),
    ):
        raise errors.BackendError("failed.", document=0, last_document=2)
    assert str(caught.value) == "One of documents 10 to 12: failed."
    assert caught.value.__notes__ == ["Documents are counted by chunk: 'source 0' to 'source 2'."]


def test_an_error_about_no_document_passes_as_it_is():
    """Such as one about the settings."""
    given = errors.ConfigurationError("no key.")
    with (
        pytest.raises(errors.ConfigurationError) as caught,
        errors.located_errors(lambda _: (0, "a"), "chunk"),
    ):
        raise given
    assert caught.value is given
