"""One loaded ONNX model: tokenizer, graph and the queue that leads to them, shared by all who ask."""

from dataclasses import dataclass, field

from ctxembed.backends.onnx.session import TokenSession
from ctxembed.backends.sharing import ModelQueue
from ctxembed.backends.tokenizer import ChunkTokenizer


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model in memory; it leaves with the last backend that holds it."""

    tokenizer: ChunkTokenizer
    session: TokenSession
    queue: ModelQueue = field(default_factory=ModelQueue)
