"""The JSON bodies of requests and responses as types, which also make the OpenAPI document.

The numbers of documents and texts are checked here. `service` checks what needs the model (tokens,
dimensions, model ids), the number of chunks, and empty strings. Lists stop at their first problem:
millions of problems would take gigabytes and hold up every other request.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ctxembed.wire import MAX_CHUNKS, MAX_DOCUMENTS, MIN_DIMENSIONS, WireFormat

Text = Annotated[str, Field(json_schema_extra={"minLength": 1})]
Document = Annotated[list[Text], Field(min_length=1, fail_fast=True)]


class _Request(BaseModel):
    """What both routes take. Unknown fields are ignored, as FastAPI servers do."""

    model_config = ConfigDict(strict=True, extra="ignore")

    model: str = Field(description="One of the ids that `GET /v1/models` lists.")
    dimensions: int | None = Field(
        default=None,
        description=f"From {MIN_DIMENSIONS} to the dimensions of the model, which are the default.",
    )
    encoding_format: WireFormat = Field(
        default="base64_int8",
        description=(
            "base64 of int8 codes; base64 of bits, least significant bit first; and, which the "
            "hosted API does not offer, numbers, or base64 of float32, little-endian."
        ),
    )


class EmbeddingsRequest(_Request):
    """Texts, each embedded alone."""

    input: (
        Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_DOCUMENTS, fail_fast=True)]
    ) = Field(description=f"A text or up to {MAX_DOCUMENTS} texts.")


class ContextualizedRequest(_Request):
    """Documents, each a list of chunks. A chunk is embedded with the others of its document."""

    input: Annotated[
        list[Document], Field(min_length=1, max_length=MAX_DOCUMENTS, fail_fast=True)
    ] = Field(
        description=(
            f"Up to {MAX_DOCUMENTS} documents with {MAX_CHUNKS:,} chunks altogether, the chunks in "
            "the order of the document."
        )
    )


class Embedding(BaseModel):
    """One vector."""

    object: Literal["embedding"]
    index: int = Field(
        ge=0, description="Position of the text in the request, or of the chunk in its document."
    )
    embedding: str | list[float]


class DocumentEmbeddings(BaseModel):
    """The vectors of one document."""

    object: Literal["list"]
    index: int = Field(ge=0, description="Position of the document in the request.")
    data: list[Embedding]


class Cost(BaseModel):
    """What the request costs, which is nothing."""

    input_cost: float
    total_cost: float
    currency: Literal["USD"]


class Usage(BaseModel):
    """Tokens of the input, separators between chunks included."""

    prompt_tokens: int
    total_tokens: int
    cost: Cost


class _Response(BaseModel):
    """What both routes return."""

    object: Literal["list"]
    model: str
    usage: Usage


class EmbeddingsResponse(_Response):
    """One vector per text."""

    data: list[Embedding]


class ContextualizedResponse(_Response):
    """One vector per chunk, document by document."""

    data: list[DocumentEmbeddings]


class Model(BaseModel):
    """A model id that the server answers, and the model behind it.

    Sizes are in tokens: `max_tokens` of a document, `max_chunk_tokens` of one chunk, and
    `usual_chunk_tokens` of chunks that see each other in the model's window of `window_tokens`.
    `context_weight` and `neighbour_weight` say how much of a vector is context.
    """

    id: str
    object: Literal["model"]
    owned_by: str
    endpoints: list[str]
    served_model: str
    fingerprint: str
    dimensions: int
    max_tokens: int
    window_tokens: int
    max_chunk_tokens: int
    usual_chunk_tokens: int
    context_weight: float
    neighbour_weight: float
    contextual: bool


class ModelsResponse(BaseModel):
    """Every model id that the server answers."""

    object: Literal["list"]
    data: list[Model]


class State(BaseModel):
    """The status of the server."""

    status: Literal["ok", "loading", "ready", "draining", "failed"]


class Problem(BaseModel):
    """What is wrong, in words and as a code."""

    message: str
    type: str
    code: str | int


class ErrorResponse(BaseModel):
    """Any error except a body of the wrong shape."""

    error: Problem


class SchemaProblem(BaseModel):
    """One thing wrong with the shape of a body; never the body itself."""

    loc: list[str | int]
    msg: str
    type: str


class SchemaErrorResponse(BaseModel):
    """A body that has the wrong shape."""

    detail: list[SchemaProblem]
