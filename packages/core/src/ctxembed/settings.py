"""`Settings`: the serialisable description that opens an `Embedder`, and its fingerprint.

Holds no secret and loads nothing. Whether a model has the dimensions asked for is checked when it is
opened, because only then is its width known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Self, get_args

from ctxembed.checkpoint import checkpoint_digest, weight_files
from ctxembed.encoding import Encoding
from ctxembed.errors import ConfigurationError
from ctxembed.models import MODELS, ModelSpec, find_model

DEFAULT_MODEL = "perplexity-ai/pplx-embed-context-v1-0.6b"
EMBEDDED_MODEL = "minilm"
FORMAT_VERSION = 1
"""Part of every fingerprint: raised when the same settings begin to give other vectors."""

BackendName = Literal["torch", "onnx", "api"]
BackendChoice = Literal["auto", "torch", "onnx", "api"]
Dtype = Literal["auto", "float32", "bfloat16", "int8"]
LongChunks = Literal["error", "pool"]
EmptyChunks = Literal["error", "zero"]
Pooling = Literal["auto", "mean"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "backend": get_args(BackendChoice),
    "dtype": get_args(Dtype),
    "encoding": get_args(Encoding),
    "long_chunks": get_args(LongChunks),
    "empty": get_args(EmptyChunks),
    "pooling": get_args(Pooling),
}
_AT_LEAST = {
    "dimensions": 1,
    "window_tokens": 1,
    "overlap_tokens": 0,
    "batch_tokens": 1,
    "max_retries": 0,
    "concurrency": 1,
}
_TEXTS = ("revision", "device", "query_prefix", "document_prefix", "base_url", "tokenizer")
_FROM_SPEC = ("dimensions", "window_tokens", "context_weight", "query_prefix", "document_prefix")
_NOT_IN_VECTORS = {
    "base_url",
    "batch_tokens",
    "concurrency",
    "device",
    "max_retries",
    "timeout",
    "tokenizer",
}
_ONLY_API = ("base_url", "timeout", "max_retries", "concurrency", "tokenizer")
_ONLY_LOCAL = ("device", "revision", "dtype", "pooling")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that opens an embedder, apart from a key.

    Attributes:
        model: Hub id, directory, or name from `ctxembed models`.
        backend: "auto" takes onnx for the embedded model and a directory with only `.onnx`
            weights, else torch.
        revision: Branch, tag or commit of a hub id.
        device: "cpu", "cuda", "cuda:1", ..., "cuda:*" for every GPU at once; None takes the first
            GPU where there is one.
        dtype: Type of local weights and matrix products. "auto" is float32 on CPU and bfloat16 on
            CUDA; "int8" is an approximation, for CPUs.
        dimensions: Keep the first so many; None keeps all.
        encoding: "int8", "binary" (+1 and -1), "ubinary" (packed bits) or "float".
        normalize: Give float32 rows of length 1, from int8 or float.
        window_tokens: Tokens that go through the model together; None takes the model's own.
        overlap_tokens: Tokens that neighbouring windows of a long document share.
        context_weight: 1 takes the contextual vector, 0 the independent one, between mixes them.
        long_chunks: A chunk beyond the model's limit is an "error", or cut and "pool"ed.
        empty: A chunk without text is an "error", or a "zero" row that the model never sees.
        pooling: "mean" insists on mean pooling for a checkpoint that says otherwise.
        query_prefix: Put before every query; None takes the model's own.
        document_prefix: Put before every window of a document; None takes the model's own. It is
            tokenised by itself, which with byte-level BPE may differ from text and prefix together.
        batch_tokens: Tokens in one model call or request; None lets the backend choose.
        base_url: Where the API is, with or without `/v1`; None takes `PERPLEXITY_BASE_URL`, or the
            vendor's.
        timeout: Seconds for one attempt of a request; None is 60.
        max_retries: Attempts after the first one; None is 8.
        concurrency: Requests under way at once, at the most; None is 16.
        tokenizer: Folder with the model's `tokenizer.json`, to count tokens exactly over the API.
    """

    model: str = DEFAULT_MODEL
    backend: BackendChoice = "auto"
    revision: str | None = None
    device: str | None = None
    dtype: Dtype = "auto"
    dimensions: int | None = None
    encoding: Encoding = "int8"
    normalize: bool = False
    window_tokens: int | None = None
    overlap_tokens: int | None = None
    context_weight: float | None = None
    long_chunks: LongChunks = "error"
    empty: EmptyChunks = "error"
    pooling: Pooling = "auto"
    query_prefix: str | None = None
    document_prefix: str | None = None
    batch_tokens: int | None = None
    base_url: str | None = None
    timeout: float | None = None
    max_retries: int | None = None
    concurrency: int | None = None
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that no model could take."""
        if not isinstance(self.model, str):
            kind = type(self.model).__name__
            raise ConfigurationError(
                f"model is text, got {kind}. Hint: str(path) for a directory."
            )
        if not self.model.strip():
            message = (
                "model is empty. Hint: name a hub id, a directory, or one of `ctxembed models`."
            )
            raise ConfigurationError(message)
        for name, choices in _CHOICES.items():
            _check_choice(name, getattr(self, name), choices)
        for name, least in _AT_LEAST.items():
            _check_whole(name, getattr(self, name), least)
        _check_text(self)
        object.__setattr__(self, "context_weight", _share(self.context_weight))
        timeout = self.timeout
        if timeout is not None and not 0 < timeout < float("inf"):
            raise ConfigurationError(f"timeout is in seconds and above 0, got {timeout!r}.")
        if self.base_url is not None and "@" in self.base_url:
            message = "base_url holds no name or password. Hint: pass the key as api_key."
            raise ConfigurationError(message)
        if self.normalize and self.encoding in ("binary", "ubinary"):
            message = (
                f"normalize makes no sense for {self.encoding!r}: all its rows have one length. "
                'Hint: leave normalize off, or take encoding="int8" or "float".'
            )
            raise ConfigurationError(message)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings that `to_dict` gave; an unknown name is a `ConfigurationError`."""
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                message = f"there is no setting {name!r}. Known: {', '.join(sorted(known))}."
                raise ConfigurationError(message)
        return cls(**values)

    @property
    def spec(self) -> ModelSpec | None:
        """The model's record where the table has one."""
        return None if Path(self.model).is_dir() else find_model(self.model)

    def resolve_backend(self) -> BackendName:
        """Return the backend that "auto" means, or raise where the pair is impossible."""
        directory = Path(self.model)
        embedded = self.spec is not None and self.spec.name == EMBEDDED_MODEL
        if embedded:
            if self.backend not in ("auto", "onnx"):
                message = (
                    f'{self.model!r} is an ONNX model. Hint: backend="onnx", or leave it out.'
                )
                raise ConfigurationError(message)
            return "onnx"
        if self.backend != "auto":
            return self.backend
        if not directory.is_dir():
            return "torch"
        torch = weight_files(directory, "safetensors")
        return "onnx" if weight_files(directory, "onnx") and not torch else "torch"

    def check_backend(self, name: BackendName) -> None:
        """Refuse settings that the backend would leave unread."""
        unread = _ONLY_LOCAL if name == "api" else _ONLY_API
        for setting in unread:
            if getattr(self, setting) not in (None, "auto"):
                message = f"{setting} means nothing to the {name} backend. Hint: leave it out."
                raise ConfigurationError(message)
        embedded = self.spec is not None and self.spec.name == EMBEDDED_MODEL
        if self.revision is not None and (embedded or Path(self.model).is_dir()):
            message = (
                f"revision belongs to a hub id, and {self.model!r} is none. Hint: leave it out."
            )
            raise ConfigurationError(message)

    @property
    def counter(self) -> str:
        """How tokens are counted, which decides where long documents are cut."""
        estimated = self.backend == "api" and self.tokenizer is None
        return "estimate-v1" if estimated else "exact"

    def fingerprint(self) -> str:
        """Return a hash of everything that changes a vector; loads no weights.

        A directory counts by its configuration, tokenizer, and names, sizes, headers and samples of its
        weights. A hub id counts by name and revision: pin a commit where that matters.
        Defaults that the table knows are filled in, so that naming them changes nothing.
        """
        values = {k: v for k, v in self.to_dict().items() if k not in _NOT_IN_VECTORS}
        directory = Path(self.model)
        spec = self.spec
        if directory.is_dir():
            values["model"] = f"directory:{checkpoint_digest(directory)}"
        elif spec is not None:
            values["model"] = spec.name
            for name in _FROM_SPEC:
                if values[name] is None:
                    values[name] = getattr(spec, name)
            if values["overlap_tokens"] is None and not values["document_prefix"]:
                values["overlap_tokens"] = spec.overlap(values["window_tokens"])
        values["backend"] = self.resolve_backend()
        values["counter"] = self.counter
        values["format"] = FORMAT_VERSION
        plain = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return blake2b(plain.encode(), digest_size=16).hexdigest()


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value in choices:
        return
    if name == "dtype" and value in ("float16", "half"):
        message = 'float16 gives NaN with these models. Hint: dtype="bfloat16" or "float32".'
        raise ConfigurationError(message)
    message = f"{name} is one of {', '.join(map(repr, choices))}, got {value!r}."
    raise ConfigurationError(message)


def _share(weight: float | None) -> float | None:
    """Return the weight as one kind of number: 1 and 1.0 are the same setting."""
    if weight is None:
        return None
    if isinstance(weight, str) or not 0 <= weight <= 1:
        raise ConfigurationError(f"context_weight is a share from 0 to 1, got {weight!r}.")
    return float(weight)


def _check_text(settings: Settings) -> None:
    """Refuse what isn't text where text belongs, and a `normalize` that is neither True nor False."""
    if not isinstance(settings.normalize, bool):
        raise ConfigurationError(f"normalize is True or False, got {settings.normalize!r}.")
    for name in _TEXTS:
        value = getattr(settings, name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise ConfigurationError(f"{name} is text, got {type(value).__name__}.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ConfigurationError(f"{name} has a lone surrogate: that is not text.") from None


def _check_whole(name: str, value: object, least: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{name} is a whole number from {least} up, got {value!r}.")


def meant(settings: Settings) -> str:
    """Return the question after a known name much like a model that isn't known, or nothing."""
    if settings.spec is not None or Path(settings.model).is_dir():
        return ""
    names = [alias for spec in MODELS for alias in (spec.name, *spec.aliases)]
    near = get_close_matches(settings.model, names, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def known_models() -> str:
    """Return the names in the table as one phrase, for messages."""
    return ", ".join(spec.name for spec in MODELS)
