"""`Embedder`: documents in, one array per document out; sync, async and streaming.

What the model reads of a document is planned in `planning`, batches are run in `execution`, and
rows become documents in `assembly`. Nothing here knows a model or a framework.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Sequence,
)
from dataclasses import replace
from typing import Self, TypeVar, Unpack

import numpy as np

from ctxembed.assembly import Errors, Outcome
from ctxembed.backends import Backend, open_backend
from ctxembed.cache import VectorCache
from ctxembed.cache.sqlite_cache import SqliteCache
from ctxembed.documents import Document, TokenizedChunk, check_document
from ctxembed.encoding import Array, empty_row
from ctxembed.errors import ConfigurationError, EmbedError, InputError, errors_about_queries
from ctxembed.execution import Runner, array_of
from ctxembed.planning import plan_documents
from ctxembed.progress import Watch, progress_bar, unwatched
from ctxembed.recipe import document_recipe, query_recipe
from ctxembed.settings import Settings
from ctxembed.settings_keywords import SettingsKeywords
from ctxembed.usage import Usage

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
        cache: VectorCache | None = None,
    ) -> None:
        """Take a backend, and the settings for what is done before and after it.

        `fingerprint` is that of the files which the backend was opened from. Without it, the
        backend counts by its spec's name in place of `settings.model`. `cache` takes the place of
        the folder that the settings name. The embedder closes both.
        """
        if isinstance(backend, str):
            hint = f"Embedder.open(model={backend!r})"
            raise ConfigurationError(f"a backend is expected, got a string. Hint: {hint}.")
        self.settings = settings or Settings()
        self._backend = backend
        self._cache = cache
        if cache is None and self.settings.cache is not None:
            self._cache = SqliteCache(self.settings.cache, self.settings.cache_bytes)
        self._documents = document_recipe(self.settings, backend, self._cache)
        self._queries = query_recipe(self.settings, backend)
        prefix = self.settings.query_prefix
        self._query_prefix = backend.spec.query_prefix if prefix is None else prefix
        share = self._documents.layout.neighbour_weight
        named = replace(self.settings, model=backend.spec.name, neighbour_weight=share)
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
            ConfigurationError: the settings name something unknown, or what does not go together.
            ModelLoadError: weights or tokenizer are absent or unusable.
        """
        if isinstance(settings, str):
            hint = f"Embedder.open(model={settings!r})"
            raise ConfigurationError(f"Settings are expected, got a string. Hint: {hint}.")
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
    def cache(self) -> VectorCache | None:
        """Where vectors of documents are looked up and kept, None where nowhere."""
        return self._cache

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
        self, documents: Sequence[Sequence[str | TokenizedChunk]], *, progress: bool = False
    ) -> list[Array]:
        """Return one (chunks, dimensions) array per document, in the order of the documents.

        All documents are checked before the model sees the first one. `progress` draws a bar of
        documents, chunks and tokens per second, which a large document moves too.

        Raises:
            InputError: names the document, and the chunk where it is one.
            BackendError: the model gave no vectors for a document that it names.
        """
        checked = self._check_all(documents)
        with progress_bar(checked, shown=progress) as watch:
            outcomes = self._runner.stream(checked, self._documents, watch=watch)
            return [array_of(outcome) for outcome in outcomes]

    def check_documents(
        self, documents: Sequence[Sequence[str | TokenizedChunk]]
    ) -> list[EmbedError | None]:
        """Return what keeps each document from being embedded, None where nothing does.

        Documents are tokenised and cut into windows; the model sees none of them.
        """
        checked = [self._checked(document, number) for number, document in enumerate(documents)]
        planned = plan_documents(self._backend, self._documents, checked)
        return [document.error for document in planned]

    def embed_query(self, text: str) -> Array:
        """Return the vector of a query, shape (dimensions,)."""
        with errors_about_queries(one=True):
            row: Array = self.embed_queries([text])[0]
        return row

    def embed_queries(self, texts: Sequence[str]) -> Array:
        """Return one row per query, shape (queries, dimensions); each is embedded alone."""
        with errors_about_queries():
            found = [*self._runner.stream(self._check_queries(texts), self._queries)]
        return self._stack(found)

    def stream(
        self,
        documents: Iterable[Sequence[str | TokenizedChunk] | EmbedError],
        *,
        errors: Errors = "raise",
        watch: Watch = unwatched,
    ) -> Generator[Outcome]:
        """Yield one array per document, in order, holding a bounded number of documents.

        An error in the place of a document stays in its place. With `errors="return"` a document
        that cannot be embedded comes back as its error, in its place; with "raise" the first error
        is raised once all documents before it have been given out. `watch` is called with how far
        the call is, when documents were read and when a batch has come.
        """
        checked = (self._checked(document, n) for n, document in enumerate(documents))
        return self._runner.stream(checked, self._documents, errors, watch)

    async def aembed_documents(
        self, documents: Sequence[Sequence[str | TokenizedChunk]], *, progress: bool = False
    ) -> list[Array]:
        """Like `embed_documents`, without blocking the event loop."""
        checked = self._check_all(documents)
        with progress_bar(checked, shown=progress) as watch:
            outcomes = self._runner.astream(_aiter(checked), self._documents, watch=watch)
            return [array_of(outcome) async for outcome in outcomes]

    async def aembed_query(self, text: str) -> Array:
        """Like `embed_query`, without blocking the event loop."""
        with errors_about_queries(one=True):
            row: Array = (await self.aembed_queries([text]))[0]
        return row

    async def aembed_queries(self, texts: Sequence[str]) -> Array:
        """Like `embed_queries`, without blocking the event loop."""
        with errors_about_queries():
            checked = _aiter(self._check_queries(texts))
            found = [row async for row in self._runner.astream(checked, self._queries)]
        return self._stack(found)

    def astream(
        self,
        documents: Iterable[Sequence[str | TokenizedChunk] | EmbedError]
        | AsyncIterable[Sequence[str | TokenizedChunk] | EmbedError],
        *,
        errors: Errors = "raise",
        watch: Watch = unwatched,
    ) -> AsyncGenerator[Outcome]:
        """Like `stream`, without blocking the event loop; takes either kind of iterable."""

        async def checked() -> AsyncIterator[Document | EmbedError]:
            number = 0
            async for document in _aiter(documents):
                yield self._checked(document, number)
                number += 1

        return self._runner.astream(checked(), self._documents, errors, watch)

    def close(self) -> None:
        """Let go of the backend and the cache; a second call does nothing."""
        self._backend.close()
        if self._cache is not None:
            self._cache.close()

    async def aclose(self) -> None:
        """Like `close`, without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _check_all(self, documents: Sequence[Sequence[str | TokenizedChunk]]) -> list[Document]:
        if isinstance(documents, str | bytes):
            raise InputError(
                "expected a list of documents, got one string. Hint: [[chunk, chunk], ...]."
            )
        empty = self.settings.empty
        return [check_document(each, number, empty) for number, each in enumerate(documents)]

    def _checked(self, document: object, number: int) -> Document | EmbedError:
        """Return the chunks of a document, or what is wrong with it."""
        if isinstance(document, EmbedError):
            return document.at(document=number)
        try:
            return check_document(document, number, self.settings.empty)
        except InputError as error:
            return error

    def _check_queries(self, texts: Sequence[str]) -> list[Document]:
        if isinstance(texts, str):
            raise InputError("got one string. Hint: embed_query(text), or a list of queries.")
        for number, text in enumerate(texts):
            check_document([text], number, self.settings.empty)
        return [(self._query_prefix + text if text.strip() else text,) for text in texts]

    def _stack(self, found: Sequence[Outcome]) -> Array:
        """Return the rows of queries as one array; of none, an array of the right width."""
        rows = [array_of(row) for row in found]
        recipe = self._queries
        none = empty_row(recipe.encoding, recipe.dimensions, unit=recipe.unit)
        return np.concatenate(rows) if rows else none.reshape(1, -1)[:0]


async def _aiter(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
