"""`Embedder`: documents in, one array a document out; sync, async and streaming.

What is planned and how rows become documents is in `blocks`, how batches are run in `running`.
Nothing here knows a model or a framework.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import numpy as np

from ctxembed.assembly import Outcome, finish_block
from ctxembed.backends import Backend, open_backend
from ctxembed.documents import check_document
from ctxembed.encoding import Array
from ctxembed.errors import EmbedError, InputError, MissingDependencyError
from ctxembed.execution import Errors, Runner, Usage, array_of
from ctxembed.keywords import SettingsKeywords
from ctxembed.planning import Block, Texts
from ctxembed.recipe import document_recipe, query_recipe
from ctxembed.settings import Settings

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")


class Embedder:
    """Embeds documents given as lists of chunks, every chunk with its siblings in view.

    May be called from many threads and tasks at once. A context manager, sync and async; leaving it
    closes the backend.
    """

    def __init__(
        self,
        backend: Backend,
        settings: Settings | None = None,
        /,
        *,
        fingerprint: str | None = None,
    ) -> None:
        """Take a backend, and the settings for what is done before and after it.

        `fingerprint` is that of the files which the backend was opened from. Without it, the backend
        counts by its spec's name in place of `settings.model`.
        """
        self.settings = settings or Settings()
        self._backend = backend
        self._documents = document_recipe(self.settings, backend)
        self._queries = query_recipe(self.settings, backend)
        prefix = self.settings.query_prefix
        self._query_prefix = backend.spec.query_prefix if prefix is None else prefix
        named = replace(self.settings, model=backend.spec.name)
        self._fingerprint = fingerprint or named.fingerprint()
        self._runner = Runner(backend)

    @classmethod
    def open(
        cls,
        settings: Settings | None = None,
        /,
        *,
        api_key: str | None = None,
        **overrides: Unpack[SettingsKeywords],
    ) -> Self:
        """Return an embedder for settings, or for their names as keywords.

        >>> embedder = Embedder.open(model="minilm", encoding="float")  # doctest: +SKIP

        Embedders of one process that ask for the same local weights share them. `api_key` is for
        `backend="api"`, where it goes before the environment's; it is kept out of the settings.

        Raises:
            ConfigurationError: the settings name something unknown, or what doesn't go together.
            ModelLoadError: weights or tokenizer are absent or unusable.
        """
        if settings is None:
            settings = Settings.from_dict(overrides)
        elif overrides:
            settings = Settings.from_dict(settings.to_dict() | overrides)
        fingerprint = settings.fingerprint()
        backend = open_backend(settings, api_key)
        try:
            return cls(backend, settings, fingerprint=fingerprint)
        except BaseException:
            backend.close()
            raise

    @property
    def backend(self) -> Backend:
        """The backend that does the work."""
        return self._backend

    @property
    def dimensions(self) -> int:
        """The dimensions of a vector (bits, for ubinary)."""
        return self._documents.dimensions

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a vector: see `Settings.fingerprint`."""
        return self._fingerprint

    @property
    def usage(self) -> Usage:
        """Tokens, requests and cost so far; over the API by the server's own figures."""
        used = getattr(self._backend, "used", None)
        if used is None:
            return self._runner.usage
        return replace(self._runner.usage, tokens=used[0], cost=used[1])

    def embed_documents(
        self, documents: Sequence[Sequence[str]], *, progress: bool = False
    ) -> list[Array]:
        """Return one (chunks, dimensions) array a document, in the order of the documents.

        All documents are checked before the model sees the first one. `progress` draws a bar.

        Raises:
            InputError: names the document, and the chunk where it is one.
            BackendError: the model gave no vectors for a document that it names.
        """
        checked = [self._check(document, n) for n, document in enumerate(_outer(documents))]
        results = self._runner.stream(iter(checked), self._documents)
        if not progress:
            return [array_of(outcome) for outcome in results]
        with _bar(len(checked)) as bar:
            found = []
            for outcome in results:
                found.append(array_of(outcome))
                bar.update()
            return found

    def embed_query(self, text: str) -> Array:
        """Return the vector of a query, shape (dimensions,)."""
        with _only_query():
            row: Array = self.embed_queries([text])[0]
        return row

    def embed_queries(self, texts: Sequence[str]) -> Array:
        """Return one row a query, shape (queries, dimensions); each is embedded alone."""
        try:
            checked = self._check_queries(texts)
            found = [array_of(row) for row in self._runner.stream(iter(checked), self._queries)]
        except EmbedError as error:
            error.noun = "Query"
            raise
        return self._stack(found)

    def stream(
        self,
        documents: Iterable[Sequence[str]],
        *,
        errors: Errors = "raise",
    ) -> Generator[Outcome]:
        """Yield one array a document, in order, holding a bounded number of documents.

        With `errors="return"` a document that can't be embedded comes back as its error, in its place.
        """
        checked = (self._outcome(document, n, errors) for n, document in enumerate(documents))
        return self._runner.stream(checked, self._documents, errors)

    async def aembed_documents(
        self, documents: Sequence[Sequence[str]], *, progress: bool = False
    ) -> list[Array]:
        """Like `embed_documents`, without blocking the event loop."""
        checked = [self._check(document, n) for n, document in enumerate(_outer(documents))]
        results = self._runner.astream(_aiter(checked), self._documents)
        if not progress:
            return [array_of(outcome) async for outcome in results]
        with _bar(len(checked)) as bar:
            found = []
            async for outcome in results:
                found.append(array_of(outcome))
                bar.update()
            return found

    async def aembed_query(self, text: str) -> Array:
        """Like `embed_query`, without blocking the event loop."""
        with _only_query():
            row: Array = (await self.aembed_queries([text]))[0]
        return row

    async def aembed_queries(self, texts: Sequence[str]) -> Array:
        """Like `embed_queries`, without blocking the event loop."""
        try:
            checked = self._check_queries(texts)
            results = self._runner.astream(_aiter(checked), self._queries)
            found = [array_of(row) async for row in results]
        except EmbedError as error:
            error.noun = "Query"
            raise
        return self._stack(found)

    def astream(
        self,
        documents: Iterable[Sequence[str]] | AsyncIterable[Sequence[str]],
        *,
        errors: Errors = "raise",
    ) -> AsyncGenerator[Outcome]:
        """Like `stream`, without blocking the event loop; takes either kind of iterable."""

        async def checked() -> AsyncIterator[Texts | EmbedError]:
            number = 0
            async for document in _aiter(documents):
                yield self._outcome(document, number, errors)
                number += 1

        return self._runner.astream(checked(), self._documents, errors)

    def close(self) -> None:
        """Let go of the backend; a second call does nothing."""
        self._backend.close()

    async def aclose(self) -> None:
        """Like `close`, without blocking the event loop."""
        await asyncio.to_thread(self._backend.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _check(self, document: object, number: int) -> Texts:
        return check_document(document, number, self.settings.empty)

    def _outcome(self, document: object, number: int, errors: str) -> Texts | EmbedError:
        try:
            return self._check(document, number)
        except InputError as error:
            if errors == "raise":
                raise
            return error

    def _check_queries(self, texts: Sequence[str]) -> list[Texts]:
        if isinstance(texts, str):
            raise InputError("got one string. Hint: embed_query(text), or a list of queries.")
        checked = [self._check([text], number) for number, text in enumerate(texts)]
        return [(self._query_prefix + text if text.strip() else text,) for (text,) in checked]

    def _stack(self, found: list[Array]) -> Array:
        if found:
            return np.concatenate(found)
        none = finish_block(Block(0, [()], [[]], [], [], []), [], self._queries)
        return array_of(none[0])


@contextmanager
def _only_query() -> Iterator[None]:
    """Leave the number out of an error where there is one query only."""
    try:
        yield
    except EmbedError as error:
        error.document = None if error.noun == "Query" else error.document
        raise


def _outer(documents: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    if isinstance(documents, str | bytes):
        message = "expected a list of documents, got one string. Hint: [[chunk, chunk], ...]."
        raise InputError(message)
    return documents


async def _aiter(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _bar(total: int) -> tqdm[Any]:
    try:
        module = import_module("tqdm.auto")
    except ModuleNotFoundError as error:
        message = "progress=True needs tqdm. Run: python -m pip install tqdm"
        raise MissingDependencyError(message) from error
    bar: tqdm[Any] = module.tqdm(total=total, unit="document")
    return bar
