"""Each store of `tests/plugins/vector_stores.py`; all but the in-memory one are marked `stores`."""

from contextlib import suppress

import pytest
from vector_stores import KINDS, Postgres


@pytest.fixture(scope="session")
def postgres():
    with Postgres.serve():
        yield


@pytest.fixture(
    params=[
        pytest.param(name, marks=[] if name == "memory" else [pytest.mark.stores])
        for name in KINDS
    ]
)
def kind(request, tmp_path):
    cls, packages = KINDS[request.param]
    for package in packages:
        pytest.importorskip(package, reason=f"{package} is not installed: see nox -s tests-stores")
    if issubclass(cls, Postgres):
        request.getfixturevalue("postgres")
    return cls(tmp_path)


@pytest.fixture
def closing(kind):
    """Remember a store, to close it after the test."""
    opened = []
    yield opened.append
    for store in opened:
        with suppress(RuntimeError):  # closed by a test already
            kind.close(store)
