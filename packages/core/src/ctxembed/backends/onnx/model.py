"""One loaded ONNX model: its tokenizer, its graph and the queue in front of them."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ctxembed.backends.config import first_position
from ctxembed.backends.model_directory import open_tokenizer
from ctxembed.backends.model_queue import ModelQueue
from ctxembed.backends.onnx.session import TokenSession
from ctxembed.backends.onnx.weights import VOCABULARY, check_embedded, find_graph
from ctxembed.backends.padding_check import probe_windows
from ctxembed.backends.tokenizer import ChunkTokenizer, from_tokenizer
from ctxembed.backends.tokenizer_files import bert_tokenizer
from ctxembed.errors import BackendError, ModelLoadError


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model in memory, freed with the last backend that holds it."""

    tokenizer: ChunkTokenizer
    session: TokenSession
    queue: ModelQueue = field(default_factory=ModelQueue)


def load_embedded(weights: Path, max_tokens: int, gpu: int | None) -> Loaded:
    """Return the embedded model, its weights checked against their hash.

    Raises:
        ModelLoadError: the file is not the one that was measured, or can't be loaded.
    """
    check_embedded(weights)
    tokenizer = from_tokenizer(bert_tokenizer(VOCABULARY))
    probe = probe_windows(tokenizer, max_tokens)
    return Loaded(tokenizer, TokenSession(weights, probe, gpu=gpu))


def load_model(directory: Path, config: Mapping[str, Any], gpu: int | None) -> Loaded:
    """Return the model of a directory.

    Raises:
        ModelLoadError: the graph or the tokenizer is absent or unusable.
    """
    graph = find_graph(directory)
    tokenizer, max_tokens = open_tokenizer(directory, config)
    probe, start = probe_windows(tokenizer, max_tokens), first_position(config)
    session = TokenSession(graph, probe, gpu=gpu, first_position=start)
    try:
        session.states([array("i", [*tokenizer.opening, tokenizer.highest(), *tokenizer.closing])])
    except BackendError as error:
        raise ModelLoadError(
            f"{graph} fails on the tokenizer's last token, {tokenizer.highest()}. Hint: fetch both "
            "from one place."
        ) from error
    return Loaded(tokenizer, session)
