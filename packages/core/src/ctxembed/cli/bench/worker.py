"""The process that measures one type of arithmetic.

It reads a task on standard input and writes events on standard output, one line of JSON each. Its
errors go to standard error as the command line shows them. `process` starts it.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ctxembed.backends.threads import allowed, limit_torch_threads
from ctxembed.cli.error_reports import exit_code
from ctxembed.embedder import Embedder
from ctxembed.settings import Settings

Tell = Callable[..., None]
"""Is called with the name of an event and its values."""

SENTENCE = "How long does it take until there is a first vector?"


def main() -> None:
    """Do the task, and exit with the code that the command is to exit with."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the command says that it was stopped
    events = _events()

    def tell(name: str, **values: object) -> None:
        events.write(json.dumps({"event": name, **values}) + "\n")
        events.flush()

    task = json.load(sys.stdin)
    try:
        run(task, tell)
    except Exception as error:
        code = exit_code(error, debug=task["debug"])
        if code is None:
            raise
        sys.exit(code)


def _events() -> TextIO:
    """Return standard output, and let what libraries print go to standard error."""
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return events


def run(task: dict[str, Any], tell: Tell) -> None:
    """Load, embed, measure; what is imported late would otherwise count as loading the model."""
    settings = Settings.from_dict(task["settings"])
    backend = settings.resolve_backend()
    with suppress(ModuleNotFoundError):  # opening says better what to install
        import_module(f"ctxembed.backends.{backend}")
    tell("imported")
    with Embedder.open(settings) as embedder:
        tell("loaded")
        embedder.embed_query(SENTENCE)
        tell("first")
        _measure(embedder, task, tell, backend)


def _measure(embedder: Embedder, task: dict[str, Any], tell: Tell, backend: str) -> None:
    from ctxembed.cli.bench import documents, measurement, peak_memory
    from ctxembed.splitting import splitter
    from ctxembed.windows import usual_chunk_tokens

    data = None if task["data"] is None else Path(task["data"])
    most = task["chunk_tokens"] or usual_chunk_tokens(embedder.settings, embedder.backend.spec)
    split = splitter(embedder.backend.tokenize, most)
    found = documents.documents(data, lambda text: [piece.chunk.text for piece in split(text)])
    sample, estimate = measurement.choose(
        embedder, islice(found, task["limit"]), seconds=task["seconds"], data=data
    )
    tell(
        "chosen",
        documents=len(sample.documents),
        chunks=sample.chunks,
        chunk_tokens=most,
        tokens=sample.tokens,
        estimate=estimate,
    )
    run = measurement.measure(embedder, sample, seconds=task["seconds"])
    tell(
        "timed",
        seconds=run.seconds,
        tokens=run.tokens,
        waited=run.waited,
        runs=run.runs,
        memory=peak_memory.peak_memory(),
    )
    np.save(task["codes"], run.codes)
    if backend == "torch":
        _torch(embedder, sample.lengths, tell)
    else:
        tell("done", threads=allowed().number, device=getattr(embedder.backend, "device", "cpu"))


def _torch(embedder: Embedder, lengths: list[int], tell: Tell) -> None:
    from ctxembed.backends.torch import matrix_products as products

    models = products.models_of(embedder.backend)
    devices = [str(model.device) for model in models]
    memory = [products.device_memory(model.device) for model in models]
    threads = limit_torch_threads()
    work, dtype, peak = products.work_of(models[0]), embedder.settings.dtype, None
    if work and products.has_peak(dtype):
        tell("products")
        # the models are equal, and work on all devices at the same time
        peak = products.peak(work.products, dtype, devices[0]) * len(models)
    tell(
        "done",
        threads=threads,
        device=", ".join(devices),
        device_memory=max((each for each in memory if each is not None), default=None),
        operations=work and work.operations(lengths),
        peak=peak,
    )


if __name__ == "__main__":
    main()
