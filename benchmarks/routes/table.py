"""The routes by name: what they are, which environment runs them, and what they need exported."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

DTYPES = ("float32", "bfloat16", "int8")
"""The types of this project's torch backend. One that `Settings` refuses is told as not run."""


@dataclass(frozen=True)
class Route:
    """One way from documents to codes.

    `peak` is the type whose measured peak its speed is a share of; `form` what `routes.export` has
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
_OPENVINO = {"load": "runtimes:openvino", "form": "openvino", "facts": ("threads",)}

ROUTES = {
    "reference": Route("reference: float32 `AutoModel`, padded batches", "reference:load", {}),
    **{
        f"ctxembed-{dtype}": Route(f"ctxembed, {dtype}", "ours:load", {"dtype": dtype}, peak=dtype)
        for dtype in DTYPES
    },
    "ctxembed-onnx": Route(
        'ctxembed, `backend="onnx"`, float32',
        "ours:load",
        {"backend": "onnx"},
        form="onnx",
        omit=_SQUARE,
    ),
    "sentence-transformers": Route(
        "sentence-transformers, token embeddings, pooled by hand",
        "sentences:load",
        {"way": "contextual"},
        omit={"longest": _ONE},
    ),
    "sentence-transformers-plain": Route(
        "sentence-transformers, plain `encode` of chunks (not contextual)",
        "sentences:load",
        {"way": "alone"},
        omit={"long": _CHUNKS, "longest": _CHUNKS},
    ),
    "onnxruntime": Route(
        "ONNX Runtime, float32, sorted batches",
        "runtimes:onnxruntime",
        {},
        form="onnx",
        facts=("threads",),
        omit=_SQUARE,
    ),
    "openvino-float32": Route(
        "OpenVINO, float32, sorted batches", arguments={"precision": "f32"}, **_OPENVINO
    ),
    "openvino-bfloat16": Route(
        "OpenVINO, bfloat16, sorted batches",
        arguments={"precision": "bf16"},
        peak="bfloat16",
        **_OPENVINO,
    ),
    **{
        f"vllm-{dtype}": Route(
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


def open_route(name: str, checkpoint: Path, **facts: int) -> Callable:
    """Return a route's way from documents to codes, loaded."""
    route = ROUTES[name]
    module, function = route.load.split(":")
    load = getattr(import_module(f"routes.{module}"), function)
    return load(checkpoint, **route.arguments, **{fact: facts[fact] for fact in route.facts})
