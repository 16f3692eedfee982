"""Local weights through ONNX Runtime: the embedded model, or any graph that gives token states.

Needs neither torch nor transformers. Chunks are tokenised, and a checkpoint's own description is
read, by what the torch backend uses too.
"""

from ctxembed.backends import Backend
from ctxembed.backends.config import (
    check_pooling,
    first_position,
    read_config,
    spec_from_config,
    with_prompts,
)
from ctxembed.backends.hub import find_directory
from ctxembed.backends.onnx.backend import OnnxBackend
from ctxembed.backends.onnx.device import pick_gpu
from ctxembed.backends.onnx.model import Loaded
from ctxembed.backends.onnx.session import TokenSession
from ctxembed.backends.onnx.weights import (
    HUB_FILES,
    VOCABULARY,
    check_embedded,
    embedded_weights,
    find_graph,
)
from ctxembed.backends.padding_check import probe_windows
from ctxembed.backends.sharing import share
from ctxembed.backends.tokenizer import bert_tokenizer, from_tokenizer, load_tokenizer
from ctxembed.batches import Limits
from ctxembed.checkpoint import checkpoint_digest
from ctxembed.errors import ConfigurationError, ModelLoadError
from ctxembed.models import ModelSpec
from ctxembed.settings import EMBEDDED_MODEL, Settings

_CPU_BATCH_TOKENS = 512
"""Few enough for the caches: 11,500 tokens/s with MiniLM on two cores, against 7,200 at 8192."""

_GPU_BATCH_TOKENS = 16_384


def load(settings: Settings) -> Backend:
    """Return a backend over the weights that the settings name, shared where they are loaded.

    Raises:
        ConfigurationError: a data type or device that isn't to be had here.
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
    else:
        loaded, spec = _from_directory(settings, gpu)
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
    return OnnxBackend(loaded, spec, limits)


def _embedded(spec: ModelSpec, gpu: int | None) -> Loaded:
    weights = embedded_weights()

    def open_model() -> Loaded:
        check_embedded(weights)
        tokenizer = from_tokenizer(bert_tokenizer(VOCABULARY))
        probe = probe_windows(tokenizer, spec.max_tokens)
        return Loaded(tokenizer, TokenSession(weights, probe, gpu=gpu))

    return share(("onnx", weights, weights.stat().st_mtime_ns, gpu), open_model)


def _from_directory(settings: Settings, gpu: int | None) -> tuple[Loaded, ModelSpec]:
    directory = find_directory(settings, HUB_FILES)
    config = read_config(directory)
    check_pooling(directory, settings.pooling)
    graph = find_graph(directory)

    def open_model() -> Loaded:
        separator = spec_from_config(config, settings.model, 0).separator
        tokenizer = load_tokenizer(directory, separator)
        most = spec_from_config(config, settings.model, tokenizer.specials).max_tokens
        probe, start = probe_windows(tokenizer, most), first_position(config)
        return Loaded(tokenizer, TokenSession(graph, probe, gpu=gpu, first_position=start))

    digest = checkpoint_digest(directory)
    loaded = share(("onnx", directory.resolve(), digest, gpu), open_model)
    spec = spec_from_config(config, settings.model, loaded.tokenizer.specials)
    spec = with_prompts(spec, directory)
    if settings.spec is not None:
        if spec.dimensions != settings.spec.dimensions:
            wide = settings.spec.dimensions
            raise ModelLoadError(
                f"{settings.model} should be {wide} wide and is {spec.dimensions}."
            )
        spec = settings.spec
    return loaded, spec
