"""Local weights through PyTorch: pplx-embed v1 by a forward of our own, others by transformers."""

from functools import partial

from ctxembed.backends import Backend
from ctxembed.backends.config import check_weights, is_pplx, read_json
from ctxembed.backends.identity import ModelIdentity
from ctxembed.backends.model_directory import directory_spec, open_directory
from ctxembed.backends.torch.backend import TorchBackend
from ctxembed.backends.torch.device import batch_tokens, pick_devices, pick_dtype
from ctxembed.backends.torch.model import load_model, weights_key
from ctxembed.backends.weight_cache import get_or_load
from ctxembed.batches import Limits
from ctxembed.checkpoint import checkpoint_digest, tensor_digest
from ctxembed.settings import Settings

_HUB_FILES = (
    "*/config.json",  # of parts: a pooling, a layer
    "adapter_config.json",
    "adapter_model.safetensors",
    "added_tokens.json",
    "config.json",
    "config_sentence_transformers.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "modules.json",
    "sentence_*_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)

_BATCHES_A_GPU = 2
"""One that is computed, and one that is made ready meanwhile."""


def load(settings: Settings) -> Backend:
    """Return a backend over the weights that the settings name, shared if they are loaded already.

    Raises:
        ConfigurationError: no such device, or a checkpoint that isn't pooled by mean.
        ModelLoadError: weights or tokenizer are absent or unusable.
    """
    devices = pick_devices(settings.device)
    dtype = pick_dtype(settings.dtype, devices[0])
    directory, config = open_directory(settings, _HUB_FILES)
    check_weights(directory, config)
    if not is_pplx(config):
        from ctxembed.backends.torch.transformers_encoder import check_reads_both_ways

        told = settings.pooling == "mean" or read_json(directory / "1_Pooling" / "config.json")
        check_reads_both_ways(config, pooling_told=bool(told))
    digest = f"{checkpoint_digest(directory)}:{tensor_digest(directory)}"
    loaded = [
        get_or_load(
            weights_key(directory, digest, dtype, device),
            partial(load_model, directory, config, dtype, device),
        )
        for device in devices
    ]
    model = loaded[0].model
    spec = directory_spec(settings, directory, config, loaded[0].tokenizer.specials)
    usual = min(batch_tokens(device, model.token_bytes) for device in devices)
    ahead = 1 if devices[0].type == "cpu" else _BATCHES_A_GPU
    limits = Limits(
        batch_tokens=settings.batch_tokens or usual,
        padded=model.padded,
        concurrency=ahead * len(devices),
    )
    identity = ModelIdentity("torch", digest, str(dtype))
    return TorchBackend(loaded, spec, limits, identity)
