"""Workers: processes with a model each, which bring shards up to date as they are told.

A worker is spawned, because models and their threads do not survive a fork. It ends when the
process that started it ends: then its pipe is closed. When a worker ends by itself, the run stops.
"""

import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from ctxembed.backends.threads import VARIABLE, allowed
from ctxembed.bulk.directory import OpenDirectory, open_directory
from ctxembed.bulk.index import ShardedIndex
from ctxembed.bulk.manifest import Model
from ctxembed.bulk.updating import Done, Job, Task, Updater
from ctxembed.embedder import Embedder
from ctxembed.errors import BackendError, ConfigurationError
from ctxembed.progress import Progress, Watch
from ctxembed.settings import Settings

_ANY_GPU = (None, "cuda", "cuda:*")
_SECONDS_TO_END = 10.0


class OwnProcess:
    """The crew of one worker, which is this process."""

    def __init__(self, directory: OpenDirectory, embedder: Embedder) -> None:
        self._directory, self._embedder = directory, embedder
        self.models = [Model.of(embedder)]

    def run(
        self, tasks: Iterable[Task], job: Job, index: ShardedIndex, watch: Watch
    ) -> Iterator[Done]:
        """Do all tasks one after the other."""
        updater = Updater(self._directory, self._embedder, job, index)
        queue = deque(tasks)
        while queue:
            done = updater.update(queue.popleft(), watch)
            queue += later(done)
            yield done


class Workers:
    """The crew of several processes."""

    def __init__(self, directory: OpenDirectory, started: Sequence["_Worker"]) -> None:
        self._directory, self._started = directory, started
        self.models = [each.expect(Model) for each in started]

    def run(
        self, tasks: Iterable[Task], job: Job, index: ShardedIndex, watch: Watch
    ) -> Iterator[Done]:
        """Hand out tasks, the next one to whoever is done."""
        path = self._directory.tmp / "index.npy"
        index.save(path)
        for each in self._started:
            each.send((job, path, index.starts))
        queue, idle = deque(tasks), deque(self._started)
        busy: dict[Connection, _Worker] = {}
        progress: dict[Connection, Progress] = {}
        while queue or busy:
            while queue and idle:
                worker = idle.popleft()
                worker.send(queue.popleft())
                busy[worker.pipe] = worker
            for pipe in wait([*busy]):
                worker = busy[pipe]  # type: ignore[index]  # only pipes are waited for
                message = worker.receive()
                if isinstance(message, Done):
                    queue += later(message)
                    idle.append(busy.pop(worker.pipe))
                    yield message
                elif isinstance(message, Progress):
                    progress[worker.pipe] = message
                    watch(sum(progress.values(), Progress()))


Crew = OwnProcess | Workers
"""One worker or several."""


class _Worker:
    """A process, and the pipe to it."""

    def __init__(self, number: int, root: Path, settings: Settings) -> None:
        context = get_context("spawn")
        self._number = number
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=work, args=(theirs, root, settings), name=f"ctxembed-{number}"
        )
        self.process.start()
        theirs.close()  # so that the pipe ends with the process

    def send(self, message: object) -> None:
        with self._ended():
            self.pipe.send(message)

    def receive(self) -> object:
        """Return what the worker has to say, or raise its error."""
        with self._ended():
            message = self.pipe.recv()
        if isinstance(message, Exception):
            raise message
        return message

    def expect(self, kind: type[Model]) -> Model:
        message = self.receive()
        assert isinstance(message, kind)  # noqa: S101 - the first message is one
        return message

    @contextmanager
    def _ended(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            self.process.join(_SECONDS_TO_END)
            raise BackendError(
                f"worker {self._number} ended with exit code {self.process.exitcode} (a negative "
                "one is a signal, -9 often a lack of memory). What was finished is kept. Hint: run "
                "this again, perhaps with fewer workers."
            ) from error

    def stop(self, *, now: bool) -> None:
        self.pipe.close()
        if now:
            self.process.terminate()
        self.process.join()


@contextmanager
def crew(directory: OpenDirectory, settings: Sequence[Settings]) -> Iterator[Crew]:
    """Give one worker for each of the settings, with the model open; one is this process itself."""
    if len(settings) == 1:
        with Embedder.open(settings[0]) as embedder:
            yield OwnProcess(directory, embedder)
        return
    started: list[_Worker] = []
    now = True
    try:
        with _shared_threads(len(settings)):
            for number, each in enumerate(settings):
                started.append(_Worker(number, directory.root, each))
        yield Workers(directory, started)
        now = False
    finally:
        for worker in started:
            worker.stop(now=now)


def work(pipe: Connection, root: Path, settings: Settings) -> None:
    """Do what the pipe says until it is closed: the main function of a worker."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # the process that started it is told, and ends it
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            with open_directory(root) as directory, Embedder.open(settings) as embedder:
                pipe.send(Model.of(embedder))
                job, path, starts = pipe.recv()
                updater = Updater(directory, embedder, job, ShardedIndex.load(path, starts))
                while True:
                    pipe.send(updater.update(pipe.recv(), pipe.send))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where it is read
            pipe.send(error)


def later(done: Done) -> list[Task]:
    """Return tasks for the shards that others are at: they are waited for when all else is done."""
    return [Task((number,), wait=True) for number in done.deferred]


def worker_settings(settings: Settings, workers: int) -> list[Settings]:
    """Return the settings of each worker: where there are GPUs, each has one of its own.

    Raises:
        ConfigurationError: There are fewer GPUs than workers.
    """
    if workers == 1:
        return [settings]
    gpus = 0
    if settings.resolve_backend() == "torch" and settings.device in _ANY_GPU:
        with suppress(ModuleNotFoundError):  # said when the model is opened
            gpus = import_module("ctxembed.backends.torch.device").gpu_count()
    if gpus >= workers:
        return [replace(settings, device=f"cuda:{number}") for number in range(workers)]
    if gpus or (settings.device or "").startswith("cuda"):
        raise ConfigurationError(
            f"there are {workers} workers for {gpus or 1} GPU: each has one of its own. Hint: "
            f'--workers {gpus or 1}, or device="cpu".'
        )
    return [settings] * workers


@contextmanager
def _shared_threads(workers: int) -> Iterator[None]:
    """Let processes that are started have their share of the threads of a model."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(max(1, allowed().number // workers))
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
