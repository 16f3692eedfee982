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
