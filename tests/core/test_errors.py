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
