"""Local weights through ONNX Runtime: the embedded model, or any graph that gives token states.

It needs neither torch nor transformers. Chunks are tokenised, and a checkpoint's own description
is read, by the modules that the torch backend uses too.
"""

from functools import partial

from ctxembed.backends import Backend
from ctxembed.backends.identity import ModelIdentity
from ctxembed.backends.model_directory import directory_spec, open_directory
from ctxembed.backends.onnx.backend import OnnxBackend
from ctxembed.backends.onnx.device import pick_gpu
from ctxembed.backends.onnx.model import Loaded, load_embedded, load_model
from ctxembed.backends.onnx.tensors import graph_digest
from ctxembed.backends.onnx.weights import HUB_FILES, embedded_digest, embedded_weights, find_graph
from ctxembed.backends.weight_cache import get_or_load
from ctxembed.batches import Limits
from ctxembed.checkpoint import ADAPTER_CONFIG, checkpoint_digest
from ctxembed.errors import ConfigurationError
from ctxembed.models import ModelSpec
from ctxembed.settings import EMBEDDED_MODEL, Settings

_CPU_BATCH_TOKENS = 512
"""Fits into the caches: 11,500 tokens/s with MiniLM on two cores, against 7,200 at 8192."""

_GPU_BATCH_TOKENS = 16_384


def load(settings: Settings) -> Backend:
    """Return a backend over the weights that the settings name, shared if they are loaded already.

    Raises:
        ConfigurationError: no such data type or device here, or the checkpoint isn't pooled by
            mean.
        ModelLoadError: weights or tokenizer are absent or unusable.
    """
    embedded = settings.spec is not None and settings.spec.name == EMBEDDED_MODEL
    if settings.dtype not in ("auto", "float32"):
        # torch refuses the embedded model
        other = "a directory with safetensors" if embedded else 'backend="torch"'
        raise ConfigurationError(
            f"the onnx backend has no {settings.dtype}: a graph comes with its own types. "
            f"Hint: leave dtype out, or take {other}."
        )
    gpu = pick_gpu(settings.device)
    if settings.spec is not None and embedded:
        loaded, spec = _embedded(settings.spec, gpu), settings.spec
        identity = ModelIdentity("onnx", embedded_digest())
    else:
        loaded, spec, identity = _from_directory(settings, gpu)
    if settings.device is not None and loaded.session.gpu != gpu:
        raise ConfigurationError(
            f"device is {settings.device!r} and ONNX Runtime's CUDA provider did not start. Hint: "
            "it needs a GPU of that number, and the CUDA and cuDNN that this onnxruntime-gpu was "
            'built for; or take device="cpu".'
        )
    usual = _CPU_BATCH_TOKENS if loaded.session.gpu is None else _GPU_BATCH_TOKENS
    limits = Limits(
        batch_tokens=settings.batch_tokens or usual, padded=loaded.session.takes_padding
    )
    return OnnxBackend(loaded, spec, limits, identity)


def _embedded(spec: ModelSpec, gpu: int | None) -> Loaded:
    weights = embedded_weights()
    return get_or_load(
        ("onnx", weights, weights.stat().st_mtime_ns, gpu),
        partial(load_embedded, weights, spec.max_tokens, gpu),
    )


def _from_directory(
    settings: Settings, gpu: int | None
) -> tuple[Loaded, ModelSpec, ModelIdentity]:
    directory, config = open_directory(settings, HUB_FILES)
    if (directory / ADAPTER_CONFIG).is_file():
        raise ConfigurationError(
            f"{directory} has an adapter ({ADAPTER_CONFIG}), which is merged into safetensors and "
            f'not into a graph. Hint: backend="torch"; or, if the graph was exported with it, '
            f"delete {ADAPTER_CONFIG}."
        )
    digest = f"{checkpoint_digest(directory)}:{graph_digest(find_graph(directory))}"
    identity = ModelIdentity("onnx", digest)
    loaded = get_or_load(
        (identity, directory.resolve(), gpu), partial(load_model, directory, config, gpu)
    )
    spec = directory_spec(settings, directory, config, loaded.tokenizer.specials)
    return loaded, spec, identity
