"""`Settings`: the serialisable description that opens an `Embedder`.

The type, default, documentation and limits of a setting stand once, at its field. Settings hold no
secret, and making or checking them reads no files. Whether a model has the dimensions asked for is
checked when the model is opened, because only then is its width known.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import Any, Literal, Self

from ctxembed.checkpoint import PPLX_TYPE, checkpoint_digest, model_type, weight_files
from ctxembed.documented_fields import check, check_weight, setting
from ctxembed.encoding import Encoding
from ctxembed.errors import ConfigurationError
from ctxembed.fingerprint import ALWAYS_HASHED, fingerprint_of
from ctxembed.models import ModelSpec, find_model, similar_model

DEFAULT_MODEL = "perplexity-ai/pplx-embed-context-v1-0.6b"
EMBEDDED_MODEL = "minilm"
LARGEST_CACHE = 10_000_000_000

BackendName = Literal["torch", "onnx", "api"]
BackendChoice = Literal["auto", "torch", "onnx", "api"]
Dtype = Literal["auto", "float32", "bfloat16", "int8"]
LongChunks = Literal["error", "pool"]
EmptyChunks = Literal["error", "zero"]
Pooling = Literal["auto", "mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that opens an embedder, apart from a key.

    `docs/settings.md` lists the fields with types, defaults and documentation. Settings compare by
    value, can be hashed and pickled, and go through plain dictionaries and JSON.

    Raises:
        ConfigurationError: A value that no model could take.
    """

    model: str = setting(
        DEFAULT_MODEL, "Model", "Hub id, directory, or a name from `ctxembed models`."
    )
    backend: BackendChoice = setting(
        "auto",
        "Model",
        "What runs the model. auto takes onnx for minilm and for a directory with ONNX weights "
        "only, and torch otherwise. api needs PERPLEXITY_API_KEY.",
    )
    revision: str | None = setting(
        None, "Model", "Branch, tag or commit of a hub id.", only="local"
    )
    device: str | None = setting(
        None,
        "Model",
        "cpu, cuda, cuda:1, ..., or cuda:* for all GPUs. By default the first GPU if there is one.",
        only="local",
        in_vectors=False,
    )
    dtype: Dtype = setting(
        "auto",
        "Model",
        "Type of local weights and matrix products. auto is float32 on a CPU and bfloat16 on a "
        "GPU. int8 is an approximation, for CPUs.",
        only="local",
    )
    dimensions: int | None = setting(
        None, "Vectors", "Number of leading dimensions to keep. By default all of them."
    )
    encoding: Encoding = setting(
        "int8", "Vectors", "How a vector is stored. binary is +1 and -1, ubinary is packed bits."
    )
    normalize: bool = setting(
        default=False,
        panel="Vectors",
        text="Scale vectors to length 1, as float32. For the encodings int8 and float only.",
    )
    window_tokens: int | None = setting(
        None,
        "Context",
        "Number of tokens that go through the model together. By default the model's own window.",
    )
    overlap_tokens: int | None = setting(
        None,
        "Context",
        "Number of tokens that neighbouring windows of a long document share. By default a share "
        "of the window that depends on the model.",
        least=0,
    )
    context_weight: float | None = setting(
        None,
        "Context",
        "1 takes the contextual vector, 0 the independent one, and a number between mixes them. By "
        "default the model's own weight.",
    )
    neighbour_weight: float | None = setting(
        None,
        "Context",
        "How much of the mean direction of the two neighbouring chunks is added to a vector. By "
        "default the model's own where context_weight is between 0 and 1, and 0 otherwise.",
    )
    long_chunks: LongChunks = setting(
        "error",
        "Bad input",
        "A chunk beyond the model's limit is an error, or it is cut and its pieces are pooled.",
    )
    long_queries: LongChunks | None = setting(
        None,
        "Bad input",
        "A query beyond the model's limit is an error, or it is cut and its pieces are pooled. By "
        "default what long_chunks says.",
        in_vectors=False,
    )
    empty: EmptyChunks = setting(
        "error",
        "Bad input",
        "A chunk without text is an error, or it gets a zero vector without going through the "
        "model (not for ubinary).",
    )
    pooling: Pooling = setting(
        "auto",
        "Model",
        "mean insists on mean pooling for a checkpoint that says otherwise.",
        only="local",
    )
    query_prefix: str | None = setting(
        None, "Context", "Text put before every query. By default the model's own."
    )
    document_prefix: str | None = setting(
        None,
        "Context",
        "Text put before every window of a document, and tokenised separately from it. By default "
        "the model's own.",
    )
    batch_tokens: int | None = setting(
        None,
        "Model",
        "Number of tokens in one model call or request. By default the backend chooses.",
        in_vectors=False,
    )
    cache: str | None = setting(
        None,
        "Cache",
        "Folder that keeps the vectors of documents, so that a document is read once as long as "
        "its chunks stay the same. By default there is none.",
        in_vectors=False,
    )
    cache_bytes: int = setting(
        LARGEST_CACHE,
        "Cache",
        "Largest size of the cache in bytes; the documents used least recently go first.",
        least=2**20,
        in_vectors=False,
    )
    base_url: str | None = setting(
        None,
        "API",
        "Address of the API, with or without /v1. By default PERPLEXITY_BASE_URL, or the vendor's "
        "address.",
        only="api",
        in_vectors=False,
    )
    timeout: float | None = setting(
        None,
        "API",
        "Seconds for one attempt of a request. By default 60.",
        only="api",
        in_vectors=False,
    )
    max_retries: int | None = setting(
        None,
        "API",
        "Number of attempts after the first one. By default 8.",
        least=0,
        only="api",
        in_vectors=False,
    )
    concurrency: int | None = setting(
        None,
        "API",
        "Largest number of requests at the same time. By default 16.",
        only="api",
        in_vectors=False,
    )
    tokenizer: str | None = setting(
        None,
        "API",
        "Folder with the model's tokenizer.json, to count tokens exactly.",
        only="api",
        in_vectors=False,
    )

    def __post_init__(self) -> None:
        """Refuse values that no model could take."""
        for each in fields(self):
            check(each, getattr(self, each.name))
        for name, most in (("context_weight", 1), ("neighbour_weight", inf)):
            object.__setattr__(self, name, check_weight(name, getattr(self, name), most))
        if not self.model.strip():
            raise ConfigurationError(
                "model is empty. Hint: name a hub id, a directory, or one of `ctxembed models`."
            )
        if self.cache is not None and (not self.cache.strip() or "\0" in self.cache):
            raise ConfigurationError("cache names no folder. Hint: name one, or leave cache out.")
        if self.timeout is not None and not 0 < self.timeout < inf:
            raise ConfigurationError(f"timeout is in seconds and above 0, got {self.timeout!r}.")
        if self.base_url is not None and "@" in self.base_url:
            raise ConfigurationError(
                "base_url holds no name or password. Hint: pass the key as api_key."
            )
        if self.normalize and self.encoding in ("binary", "ubinary"):
            raise ConfigurationError(
                f"normalize makes no sense for {self.encoding!r}: all its rows have one length. "
                'Hint: leave normalize off, or take encoding="int8" or "float".'
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings that `to_dict` gave; an unknown name is a `ConfigurationError`."""
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                question = f" Did you mean {near[0]!r}?" if near else ""
                raise ConfigurationError(
                    f"there is no setting {name!r}.{question} Known: {', '.join(sorted(known))}."
                )
        return cls(**values)

    def without_cache(self) -> Self:
        """Return the settings that make the same vectors and keep them nowhere."""
        return replace(self, cache=None, cache_bytes=LARGEST_CACHE)

    @property
    def spec(self) -> ModelSpec | None:
        """The model's record where the table has one; a directory of that name goes first."""
        return None if Path(self.model).is_dir() else find_model(self.model)

    def resolve_backend(self) -> BackendName:
        """Return the backend that "auto" means, or raise where the pair is impossible.

        Looks into the model's directory, if there is one.
        """
        spec = self.spec
        if spec is not None and spec.name == EMBEDDED_MODEL:
            if self.backend not in ("auto", "onnx"):
                hint = 'backend="onnx", or leave it out.'
                if self.backend == "api":
                    hint = f"leave backend out, or ask a server by base_url for {DEFAULT_MODEL}."
                raise ConfigurationError(f"{self.model!r} is an ONNX model. Hint: {hint}")
            return "onnx"
        if self.backend != "auto":
            return self.backend
        directory = Path(self.model)
        if not directory.is_dir():
            return "torch"
        torch = weight_files(directory, "safetensors")
        return "onnx" if weight_files(directory, "onnx") and not torch else "torch"

    @property
    def counter(self) -> str:
        """How tokens are counted, which decides where long documents are cut."""
        estimated = self.backend == "api" and self.tokenizer is None
        return "estimate-v1" if estimated else "exact"

    def fingerprint(self) -> str:
        """Return a hash of everything that changes a vector; loads no weights.

        A directory counts by its configuration, tokenizer, and names, sizes, headers and samples of
        its weights. A hub id counts by name and revision: pin a commit where that matters. Defaults
        that the table of models knows are filled in, so that naming them changes nothing.
        """
        directory = Path(self.model)
        values = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.metadata["in_vectors"]
            and (each.name in ALWAYS_HASHED or getattr(self, each.name) != each.default)
        }
        values |= {"backend": self.resolve_backend(), "counter": self.counter}
        if not directory.is_dir():
            return fingerprint_of(values, self.spec)
        trained = model_type(directory) == PPLX_TYPE
        return fingerprint_of(values, digest=checkpoint_digest(directory), trained=trained)


def meant(settings: Settings) -> str:
    """Return a question that names the known model with the most similar name, or nothing."""
    known = settings.spec is not None or Path(settings.model).is_dir()
    return "" if known else similar_model(settings.model)
