"""The JSON bodies of requests and responses, as types: they check, and they make the OpenAPI document.

Numbers of documents and texts are checked here. What needs the model (tokens, dimensions, whether a
name is ours), the number of chunks and empty strings are checked in `service`. Lists stop at their
first problem: a body of millions of them would take gigabytes, and hold up every other request.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ctxembed.wire import MAX_DOCUMENTS, WireFormat

Text = Annotated[str, Field(json_schema_extra={"minLength": 1})]
Document = Annotated[list[Text], Field(min_length=1, fail_fast=True)]


class _Request(BaseModel):
    """What both routes take; fields that aren't known are ignored, as FastAPI servers do."""

    model_config = ConfigDict(strict=True, extra="ignore")

    model: str = Field(description="One of the names that `GET /v1/models` lists.")
    dimensions: int | None = Field(
        default=None, description="From 128 to the width of the model, which is the default."
    )
    encoding_format: WireFormat = Field(
        default="base64_int8",
        description=(
            "base64 of int8 codes; base64 of bits, least significant first; or numbers, which the "
            "hosted API doesn't give."
        ),
    )


class EmbeddingsRequest(_Request):
    """Texts, each embedded alone."""

    input: (
        Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_DOCUMENTS, fail_fast=True)]
    ) = Field(description="A text or up to 512 of them.")


class ContextualizedRequest(_Request):
    """Documents, each a list of chunks that are embedded with the others of their document in view."""

    input: Annotated[
        list[Document], Field(min_length=1, max_length=MAX_DOCUMENTS, fail_fast=True)
    ] = Field(
        description="Up to 512 documents, 16,000 chunks altogether, in the order of the document."
    )


class Embedding(BaseModel):
    """One vector."""

    object: Literal["embedding"]
    index: int = Field(ge=0, description="Place of the text, or of the chunk in its document.")
    embedding: str | list[float]


class DocumentEmbeddings(BaseModel):
    """The vectors of one document."""

    object: Literal["list"]
    index: int = Field(ge=0, description="Place of the document.")
    data: list[Embedding]


class Cost(BaseModel):
    """What it costs: nothing."""

    input_cost: float
    total_cost: float
    currency: Literal["USD"]


class Usage(BaseModel):
    """Tokens of the input, separators between chunks included."""

    prompt_tokens: int
    total_tokens: int
    cost: Cost


class EmbeddingsResponse(BaseModel):
    """One vector a text."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class ContextualizedResponse(BaseModel):
    """One vector a chunk, document by document."""

    object: Literal["list"]
    data: list[DocumentEmbeddings]
    model: str
    usage: Usage


class Model(BaseModel):
    """A name that is answered, and what stands behind it."""

    id: str
    object: Literal["model"]
    owned_by: str
    endpoints: list[str]
    served_model: str
    fingerprint: str
    dimensions: int
    max_tokens: int
    contextual: bool


class ModelsResponse(BaseModel):
    """Every name that is answered."""

    object: Literal["list"]
    data: list[Model]


class State(BaseModel):
    """What the server is doing."""

    status: Literal["ok", "loading", "ready", "draining", "failed"]


class Problem(BaseModel):
    """What is wrong, in words and as a code."""

    message: str
    type: str
    code: str | int


class ErrorResponse(BaseModel):
    """Any refusal but that of a malformed body."""

    error: Problem


class SchemaProblem(BaseModel):
    """One thing wrong with the shape of a body; never the body itself."""

    loc: list[str | int]
    msg: str
    type: str


class SchemaErrorResponse(BaseModel):
    """A body that has the wrong shape."""

    detail: list[SchemaProblem]
