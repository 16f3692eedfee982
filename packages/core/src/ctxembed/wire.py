"""What both ends of the embeddings API agree on: routes, limits, names, and vectors as bytes.

The client (`backends.api`) and the server (`server`) take these from here. The source is the API
reference and the public client library. The bodies are in the modules that write and read them.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

CONTEXTUAL_PATH = "/v1/contextualizedembeddings"
"""Takes documents, each a list of chunks."""

INDEPENDENT_PATH = "/v1/embeddings"
"""Takes texts. Each is embedded alone."""

MODELS_PATH = "/v1/models"
"""Tells what a server of ours has behind each model id."""

PackedFormat = Literal["base64_int8", "base64_binary"]
"""Values of `encoding_format` that the hosted API offers: vectors as base64 of bytes."""

WireFormat = Literal[PackedFormat, "float", "base64"]
"""All values of `encoding_format`: the server adds plain numbers, and base64 of float32.

The last is what OpenAI's client asks for by itself.
"""

ENCODINGS: dict[WireFormat, Literal["int8", "binary", "float"]] = {
    "base64": "float",
    "base64_int8": "int8",
    "base64_binary": "binary",
    "float": "float",
}
"""The encoding of the rows that each wire format carries."""

MAX_DOCUMENTS = 512
MAX_CHUNKS = 16_000
MAX_DOCUMENT_TOKENS = 32_768
MAX_REQUEST_TOKENS = 120_000
MIN_DIMENSIONS = 128

MAX_QUEUE_TOKENS = 1_000_000
"""Tokens that may wait in our server, unless it is told another number."""

MAX_BODY_BYTES = 8 * 2**20
"""Size of a request that our server takes, unless it is told another one.

These are about 70 bytes for each of the `MAX_REQUEST_TOKENS`.
"""

KEY_VARIABLES = ("PERPLEXITY_API_KEY", "PPLX_API_KEY", "PERPLEXITYAI_API_KEY")
"""Environment variables that may hold the key. The first one that is set counts."""

URL_VARIABLE = "PERPLEXITY_BASE_URL"
DEFAULT_URL = "https://api.perplexity.ai"


def row_bytes(wire_format: PackedFormat, dimensions: int) -> int:
    """Return the bytes of one packed row.

    >>> row_bytes("base64_binary", 129)
    17
    """
    return -(-dimensions // 8) if wire_format == "base64_binary" else dimensions


def pack_codes(codes: NDArray[np.int8], wire_format: PackedFormat) -> NDArray[np.uint8]:
    """Return codes `(rows, dimensions)` as the bytes that base64 carries, `(rows, row_bytes)`.

    A bit is 1 where a code is positive. The wire has the **least** significant bit first, unlike
    everything else in this package.
    """
    if wire_format == "base64_binary":
        return np.packbits(codes > 0, axis=-1, bitorder="little")
    return codes.view(np.uint8)


def unpack_codes(
    packed: NDArray[np.uint8], wire_format: PackedFormat, dimensions: int
) -> NDArray[np.int8]:
    """Return the codes `(rows, dimensions)` that `pack_codes` packed; bits become +1 and -1."""
    if wire_format == "base64_binary":
        bits = np.unpackbits(packed, axis=-1, count=dimensions, bitorder="little")
        return np.where(bits == 1, np.int8(1), np.int8(-1))
    return packed.view(np.int8)
