"""One cache for models that have one name: no row of one is given for the other.

Weights are real small checkpoints; the servers are real ones on loopback.
"""

import json

import numpy as np
import pytest

from ctxembed import Embedder

DOCUMENTS = [["the mill was sold", "it had stood there"], ["the ferry sank"], ["a", "b", "c"]]


def embedded(cache=None, **given):
    """Return all rows, and how many documents were not read."""
    with Embedder.open(**given, cache=cache) as embedder:
        rows = np.concatenate(embedder.embed_documents(DOCUMENTS))
        return rows, embedder.usage.cached_documents


def fine_tuned(tensors):
    return {name: each + np.float32(0.05) for name, each in tensors.items()}


def another_norm(tensors):
    """Change one tensor of the last layer, as a run that froze all others does."""
    name = max(name for name in tensors if name.endswith("norm.weight"))
    return {**tensors, name: tensors[name] * np.float32(1.5)}


@pytest.mark.parametrize("change", [fine_tuned, another_norm])
def test_a_hub_id_whose_branch_moves(
    tmp_path, monkeypatch, pplx_checkpoint, short_tokenizer_json, change
):
    pytest.importorskip("torch")
    pytest.importorskip("huggingface_hub")
    from pplx import SHORT_VOCABULARY, write_pplx
    from safetensors.numpy import load_file

    tensors = change(load_file(pplx_checkpoint / "model.safetensors"))
    moved = write_pplx(tmp_path / "moved", short_tokenizer_json, tensors, **SHORT_VOCABULARY)
    branch = [pplx_checkpoint]
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(branch[0]))
    given = {"model": "someone/tiny", "revision": "main", "backend": "torch"}
    cache = str(tmp_path / "cache")
    before, read = embedded(cache, **given)
    branch[0] = moved
    after, read_after = embedded(cache, **given)

    assert read == read_after == 0
    assert not np.array_equal(before, after)
    assert np.array_equal(after, embedded(**given)[0])
    branch[0] = pplx_checkpoint
    again, read = embedded(cache, **given)
    assert read == len(DOCUMENTS)
    assert np.array_equal(before, again)


def test_weights_of_which_training_changed_the_norms_alone(tmp_path, minilm_checkpoint):
    """In a file of 90 MB most norms and biases lie between the samples of a fingerprint."""
    pytest.importorskip("torch")
    from checkpoints import copy_of
    from safetensors.numpy import load_file, save_file

    trained = copy_of(minilm_checkpoint, tmp_path / "trained")
    tensors = load_file(trained / "model.safetensors")
    for name in tensors:
        if name.endswith("LayerNorm.weight"):
            tensors[name] = tensors[name] * np.float32(1.2)
    save_file(tensors, trained / "model.safetensors", metadata={"format": "pt"})
    cache = str(tmp_path / "cache")
    embedded(cache, model=str(minilm_checkpoint), backend="torch")
    rows, read = embedded(cache, model=str(trained), backend="torch")
    assert read == 0
    assert np.array_equal(rows, embedded(model=str(trained), backend="torch")[0])


def test_the_type_that_auto_means_on_two_devices(tmp_path, monkeypatch, pplx_checkpoint):
    """`pick_dtype` stands in for a GPU, which computes in bfloat16 where a CPU takes float32."""
    torch = pytest.importorskip("torch")
    cache = str(tmp_path / "cache")
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr("ctxembed.backends.torch.pick_dtype", lambda *_, found=dtype: found)
        given = {"model": str(pplx_checkpoint), "encoding": "float", "dtype": "auto"}
        first, read = embedded(cache, **given)
        again, read_again = embedded(cache, **given)
        assert (read, read_again) == (0, len(DOCUMENTS))
        assert np.array_equal(first, again)
        assert np.array_equal(first, embedded(**given)[0])
        rows.append(first)
    assert not np.array_equal(*rows)


def other_vectors(handler, body):
    """Answer with the vectors of other texts: the same name, and another model behind it."""
    from upstream import reply

    changed = [[f"{chunk}!" for chunk in document] for document in body["input"]]
    return handler.answer(200, json.dumps(reply(handler.path, body | {"input": changed})))


def test_two_addresses_of_one_model_name(tmp_path, api, monkeypatch):
    """The address counts, however it is given, and with or without /v1."""
    pytest.importorskip("httpx")
    from upstream import Api, serving

    cache = str(tmp_path / "cache")
    given = {"model": "pplx-embed-context-v1-0.6b", "backend": "api"}
    other = Api()
    other.always = other_vectors
    first, read = embedded(cache, **given)
    assert read == 0
    with serving(other) as address:
        second, read = embedded(cache, **given, base_url=address)
        assert read == 0
        assert not (first == second).all(axis=1).any()
        asked = len(api.requests), len(other.requests)

        for base_url in (f"{address}/v1/", None):
            if base_url is None:
                monkeypatch.setenv("PERPLEXITY_BASE_URL", address)
            again, read = embedded(cache, **given, base_url=base_url)
            assert read == len(DOCUMENTS)
            assert np.array_equal(second, again)
        assert asked == (len(api.requests), len(other.requests))
    assert b"secret-key" not in b"".join(
        each.read_bytes() for each in (tmp_path / "cache").iterdir()
    )
