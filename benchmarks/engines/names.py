"""The engines by name: what they are, which environment runs them, and what they need exported."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

DTYPES = ("float32", "bfloat16", "int8")
"""The types of this project's torch backend. One that `Settings` refuses is told as not run."""


@dataclass(frozen=True)
class Engine:
    """One way from documents to codes.

    `peak` is the type whose measured peak its speed is a share of; `form` what `engines.export` has
    to write first; `facts` what it wants to know of the run; `omit` why a workload is left out.
    """

    title: str
    load: str
    arguments: dict[str, object]
    environment: str = "main"
    peak: str = "float32"
    form: str | None = None
    facts: tuple[str, ...] = ()
    omit: dict[str, str] = field(default_factory=dict)


_ONE = "one document alone is the reference's own forward"
_CHUNKS = "not contextual whatever the documents; the short ones show it"
_SQUARE = {
    "long": "the export keeps matrices of tokens by tokens for all heads: 4 GiB each, and 24 GB "
    "in all were not enough",
    "longest": "the export keeps matrices of tokens by tokens for all heads: 64 GiB each",
}
_OPENVINO = {"load": "graph_runtimes:openvino", "form": "openvino", "facts": ("threads",)}

ENGINES = {
    "reference": Engine("reference: float32 `AutoModel`, padded batches", "reference:load", {}),
    **{
        f"ctxembed-{dtype}": Engine(
            f"ctxembed, {dtype}", "this_project:load", {"dtype": dtype}, peak=dtype
        )
        for dtype in DTYPES
    },
    "ctxembed-onnx": Engine(
        'ctxembed, `backend="onnx"`, float32',
        "this_project:load",
        {"backend": "onnx"},
        form="onnx",
        omit=_SQUARE,
    ),
    "sentence-transformers": Engine(
        "sentence-transformers, token embeddings, pooled by hand",
        "sentence_transformer:load",
        {"way": "contextual"},
        omit={"longest": _ONE},
    ),
    "sentence-transformers-plain": Engine(
        "sentence-transformers, plain `encode` of chunks (not contextual)",
        "sentence_transformer:load",
        {"way": "alone"},
        omit={"long": _CHUNKS, "longest": _CHUNKS},
    ),
    "onnxruntime": Engine(
        "ONNX Runtime, float32, sorted batches",
        "graph_runtimes:onnxruntime",
        {},
        form="onnx",
        facts=("threads",),
        omit=_SQUARE,
    ),
    "openvino-float32": Engine(
        "OpenVINO, float32, sorted batches", arguments={"precision": "f32"}, **_OPENVINO
    ),
    "openvino-bfloat16": Engine(
        "OpenVINO, bfloat16, sorted batches",
        arguments={"precision": "bf16"},
        peak="bfloat16",
        **_OPENVINO,
    ),
    **{
        f"vllm-{dtype}": Engine(
            f"vLLM for CPUs, {dtype}",
            "vllm_cpu:load",
            {"dtype": dtype},
            environment="vllm",
            peak=dtype,
            form="plain",
            facts=("longest",),
        )
        for dtype in ("float32", "bfloat16")
    },
}


def open_engine(name: str, checkpoint: Path, **facts: int) -> Callable:
    """Return an engine's way from documents to codes, loaded."""
    engine = ENGINES[name]
    module, function = engine.load.split(":")
    load = getattr(import_module(f"engines.{module}"), function)
    return load(checkpoint, **engine.arguments, **{fact: facts[fact] for fact in engine.facts})
