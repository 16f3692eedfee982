"""Settings: what they refuse, how they travel, and what their fingerprint sees."""

import copy
import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from settings_values import CHANGE_VECTORS, SAME_VECTORS

from ctxembed import (
    ConfigurationError,
    DocumentTooLongError,
    Embedder,
    ModelSpec,
    Settings,
    backends,
)
from ctxembed.backends import open_backend
from ctxembed.checkpoint import tensor_digest
from ctxembed.documented_fields import setting
from ctxembed.encoding import Encoding
from ctxembed.errors import MissingDependencyError
from ctxembed.settings import meant
from ctxembed.testing import FakeBackend


@pytest.mark.parametrize("name", CHANGE_VECTORS)
def test_fingerprint_changes_with(name):
    """What changes a vector changes the fingerprint."""
    assert Settings().fingerprint() != Settings(**{name: CHANGE_VECTORS[name]}).fingerprint()


def test_fingerprint_knows_how_tokens_are_counted():
    """Over the API an estimate may cut long documents elsewhere than an exact count."""
    estimated = Settings(backend="api").fingerprint()

    assert estimated != Settings(backend="api", tokenizer="some/folder").fingerprint()
    assert estimated == Settings(backend="api", timeout=5, base_url="http://x").fingerprint()


@pytest.mark.parametrize("name", SAME_VECTORS)
def test_fingerprint_does_not_change_with(name):
    """Where and in which portions it runs changes nothing."""
    assert Settings().fingerprint() == Settings(**{name: SAME_VECTORS[name]}).fingerprint()


def test_fingerprint_knows_defaults_and_aliases():
    """Naming what is the model's own anyway changes nothing; neither does the other name."""
    named = Settings(
        model="pplx-embed-context-v1-0.6B",
        backend="torch",
        dimensions=1024,
        window_tokens=32768,
        overlap_tokens=4096,
        context_weight=1.0,
        query_prefix="",
        document_prefix="",
    )

    assert Settings().fingerprint() == named.fingerprint()


def test_overlap_follows_a_window_of_ones_own():
    """The default overlap is a share of the window that is set."""
    assert (
        Settings(model="minilm", window_tokens=128).fingerprint()
        == Settings(model="minilm", window_tokens=128, overlap_tokens=64).fingerprint()
    )


def directory(path, weights=b"x" * 9000, name="model.safetensors", config="{}"):
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(config)
    (path / "tokenizer.json").write_text("{}")
    header = b'{"a":{}}'
    (path / name).write_bytes(len(header).to_bytes(8, "little") + header + weights)
    return Settings(model=str(path)).fingerprint()


def test_fingerprint_knows_numbers_and_not_their_spelling():
    """1 and 1.0 are one weight, and name the default."""
    assert Settings().fingerprint() == Settings(context_weight=1).fingerprint()


def test_fingerprint_of_everything_that_loads(tmp_path):
    """Which shards the index names, prompts, special tokens, pooling, and an ONNX graph's data."""
    directory(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"graph")
    files = (
        "model.safetensors.index.json",
        "config_sentence_transformers.json",
        "special_tokens_map.json",
        "tokenizer_config.json",
        "modules.json",
        "1_Pooling/config.json",
        "weights.bin",
        "model.onnx_data",
    )
    (tmp_path / "1_Pooling").mkdir()
    seen = {Settings(model=str(tmp_path)).fingerprint()}
    for name in files:
        for content in ("{}", '{"a": 1}'):
            (tmp_path / name).write_text(content)
            seen.add(Settings(model=str(tmp_path)).fingerprint())

    assert len(seen) == 1 + 2 * len(files)


KNOWN = [
    ({"model": "perplexity-ai/pplx-embed-context-v1-0.6b"}, "c7e8f34ffe86286e177933b28835daeb"),
    ({"model": "perplexity-ai/pplx-embed-context-v1-4b"}, "9a73e41380300e23ff5f691699d98eb1"),
    ({"model": "perplexity-ai/pplx-embed-v1-0.6b"}, "0dc4fb950f5adfd7133ee713d0d58f3a"),
    ({"model": "perplexity-ai/pplx-embed-v1-4b"}, "d670b9bd99c49739596779ffb80f7132"),
    ({"model": "minilm", "neighbour_weight": 0}, "367f3a3fa09a2e79ad69b9967c79700f"),
    ({"model": "minilm", "context_weight": 0}, "c6db1ad3640437accd22de225eb654ac"),
    ({"model": "minilm"}, "6988f77b8c924d01df0bc225addc42ea"),
    ({"model": "minilm", "neighbour_weight": 0.1}, "6988f77b8c924d01df0bc225addc42ea"),
    ({"model": "minilm", "neighbour_weight": 0.2}, "cc61b9197a2430281f81babe0c33b5a3"),
    ({"model": "pplx-embed-v1-4B"}, "d670b9bd99c49739596779ffb80f7132"),
    (
        {"model": "some/hub-id", "revision": "abc", "neighbour_weight": 0},
        "f8d1c1064cd57f3e7e3c4245f532a303",
    ),
    ({"model": "some/hub-id", "revision": "abc"}, "2ed970c8a7d4453c921049fbc83ce38f"),
    (
        {"model": "some/hub-id", "revision": "abc", "neighbour_weight": 0.2},
        "201807ef7ef98fccd39d7bc77aa80527",
    ),
    ({"backend": "api"}, "be8de5a5b164e69b4135f586dfc272d9"),
    ({"backend": "api", "tokenizer": "some/folder"}, "545e0f70ffeaf49bdd6e2a6b47ad93b2"),
    ({"encoding": "binary"}, "fca7a5e1e7d5a6f465a4325a6d009f15"),
    ({"encoding": "ubinary", "dimensions": 128}, "e09d8b8e1a3b613773533c42038851eb"),
    ({"encoding": "float", "normalize": True}, "a7f9e2ae1a25828d22de6acd960d38f8"),
    ({"window_tokens": 512}, "c5a46f643938149f54932a1dd0db0908"),
    (
        {
            "model": "minilm",
            "neighbour_weight": 0,
            "window_tokens": 128,
            "document_prefix": "d: ",
            "query_prefix": "q: ",
        },
        "8e0b85e1a5e4a65990be31cbd784cca5",
    ),
    (
        {
            "model": "minilm",
            "overlap_tokens": 7,
            "context_weight": 1,
            "long_chunks": "pool",
            "empty": "zero",
            "pooling": "mean",
        },
        "1edfcc19d7c6653966c86da5913aa4f9",
    ),
    (
        {"dtype": "bfloat16", "device": "cpu", "batch_tokens": 100},
        "5656ede3d108248b7afdf3ee2cf095c4",
    ),
]


@pytest.mark.parametrize(("values", "expected"), KNOWN)
def test_fingerprint_by_value(values, expected):
    """Vectors are stored under these: a change is a change for everyone who has stored some."""
    assert Settings(**values).fingerprint() == expected


def test_fingerprint_of_a_directory_by_value(tmp_path):
    """Fixed bytes in a directory of any name; without neighbours as before that setting."""
    for name, file, before, now in (
        (
            "one",
            "model.safetensors",
            "6047946d9cd36dd1c0b6c8471c81cb88",
            "f68f080b816af5fd60927f52e05fedd4",
        ),
        (
            "two",
            "model.onnx",
            "68edd3854076216965cc71655305406d",
            "f783e3bb89218cc9c2d7a02fa0427063",
        ),
    ):
        assert directory(tmp_path / name, name=file) == now
        path = str(tmp_path / name)
        assert Settings(model=path, neighbour_weight=0).fingerprint() == before
        assert Settings(model=path, neighbour_weight=0.1).fingerprint() == now


def test_fingerprint_of_a_directory_trained_for_context_has_no_neighbours(tmp_path):
    """Its vectors are what they were before there was the setting."""
    directory(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "bidirectional_pplx_qwen3"}))
    plain = Settings(model=str(tmp_path)).fingerprint()

    assert plain == Settings(model=str(tmp_path), neighbour_weight=0).fingerprint()
    assert plain != Settings(model=str(tmp_path), neighbour_weight=0.1).fingerprint()
    config.write_text("[]")
    assert plain != Settings(model=str(tmp_path)).fingerprint()


def test_fingerprint_leaves_out_a_newer_setting_at_its_default():
    """Vectors that are stored keep their fingerprint when a release brings another setting."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Newer(Settings):
        neighbours: int | None = setting(None, "Context", "A setting of a later release.")

    assert Newer().fingerprint() == Settings().fingerprint()
    assert Newer(neighbours=1).fingerprint() != Settings().fingerprint()


def test_making_settings_reads_no_files(monkeypatch):
    """Whatever the model is called: what needs the disk happens when it is opened."""
    for name in ("is_dir", "is_file", "exists", "stat", "open", "glob"):
        monkeypatch.setattr(Path, name, lambda *_, **__: pytest.fail("the disk was asked"))

    assert Settings.from_dict(Settings(model="some/folder", revision="abc").to_dict())


def test_settings_that_the_backend_would_not_read_are_refused_when_it_is_opened(tmp_path):
    """Each names the backend, or what a revision belongs to."""
    directory(tmp_path)
    for settings, words in (
        (Settings(timeout=3), "timeout means nothing to the torch backend"),
        (Settings(backend="api", dtype="bfloat16"), "dtype means nothing to the api backend"),
        (Settings(model=str(tmp_path), revision="a"), "revision belongs to a hub id"),
        (Settings(model="minilm", revision="a"), "revision belongs to a hub id"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            open_backend(settings)


def test_fingerprint_of_a_directory(tmp_path):
    """The same files elsewhere are the same model; other weights of the same size are not."""
    first = directory(tmp_path / "one")

    assert first == directory(tmp_path / "two")
    assert first != directory(tmp_path / "three", weights=b"y" * 9000)
    assert first != directory(tmp_path / "four", config='{"rope_theta": 1}')
    assert first != directory(tmp_path / "five", name="other.safetensors")


def test_directory_decides_the_backend(tmp_path):
    """Only ONNX weights open in onnx; safetensors, and a hub id, in torch."""
    directory(tmp_path / "torch")
    directory(tmp_path / "both")
    directory(tmp_path / "both", name="model.onnx")
    directory(tmp_path / "onnx" / "onnx", name="model.onnx")

    assert Settings(model=str(tmp_path / "torch")).resolve_backend() == "torch"
    assert Settings(model=str(tmp_path / "both")).resolve_backend() == "torch"
    assert Settings(model=str(tmp_path / "onnx")).resolve_backend() == "onnx"
    assert Settings(model="some/hub-id").resolve_backend() == "torch"
    assert Settings(model="minilm").resolve_backend() == "onnx"


def test_embedded_model_is_not_for_torch():
    """An impossible pair names the right one."""
    with pytest.raises(ConfigurationError, match='backend="onnx"'):
        Settings(model="minilm", backend="torch").resolve_backend()


@given(
    st.builds(
        Settings,
        model=st.text(min_size=1).filter(str.strip),
        dimensions=st.none() | st.integers(1, 5000),
        encoding=st.sampled_from(Encoding.__args__),
        context_weight=st.none() | st.floats(0, 1),
        device=st.none() | st.text(),
        empty=st.sampled_from(["error", "zero"]),
    )
)
def test_settings_travel(settings):
    """Pickled, copied and through JSON they stay equal."""
    assert settings == pickle.loads(pickle.dumps(settings))
    assert settings == copy.deepcopy(settings)
    assert settings == Settings.from_dict(json.loads(json.dumps(settings.to_dict())))
    assert hash(settings) == hash(copy.copy(settings))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": " "}, "model"),
        ({"backend": "tensorflow"}, "'auto', 'torch'"),
        ({"dtype": "float16"}, "NaN"),
        ({"dtype": "int4"}, "dtype"),
        ({"encoding": "int4"}, "encoding"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 1.5}, "dimensions"),
        ({"dimensions": True}, "dimensions"),
        ({"dimensions": "64"}, "dimensions"),
        ({"window_tokens": 0}, "window_tokens"),
        ({"overlap_tokens": -1}, "overlap_tokens"),
        ({"context_weight": 1.1}, "context_weight"),
        ({"context_weight": "0.5"}, "context_weight"),
        ({"normalize": "no"}, "normalize"),
        ({"normalize": 1}, "normalize"),
        ({"query_prefix": 5}, "query_prefix"),
        ({"document_prefix": "bad \ud800"}, "document_prefix"),
        ({"device": 3}, "device"),
        ({"model": Path("dir")}, "model is text"),
        ({"context_weight": float("nan")}, "context_weight"),
        ({"long_chunks": "truncate"}, "long_chunks"),
        ({"empty": "skip"}, "empty"),
        ({"pooling": "cls"}, "pooling"),
        ({"encoding": "binary", "normalize": True}, "normalize"),
        ({"encoding": "ubinary", "normalize": True}, "normalize"),
        ({"dimension": 3}, "dimension"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"max_retries": -1}, "max_retries"),
        ({"concurrency": 0}, "concurrency"),
        ({"base_url": "https://name:word@host"}, "password"),
    ],
)
def test_impossible_settings_are_refused(values, words):
    """The message names the setting."""
    with pytest.raises(ConfigurationError, match=words):
        Settings.from_dict(values)


@pytest.mark.parametrize(
    ("model", "question"),
    [("mini-lm", " Did you mean 'minilm'?"), ("minilm", ""), ("nothing/like-it", "")],
)
def test_a_name_much_like_a_known_one_is_asked_about(model, question):
    assert meant(Settings(model=model)) == question


def test_long_queries_have_a_policy_of_their_own():
    """A long question is pooled, and documents and their fingerprint stay as they are."""
    long = " ".join(["word"] * 61)
    spec = ModelSpec(name="m", dimensions=16, max_tokens=60, window_tokens=60)

    def opened(**given):
        return Embedder(FakeBackend(spec), Settings(encoding="float", **given))

    for policies in ({}, {"long_chunks": "pool", "long_queries": "error"}):
        with pytest.raises(DocumentTooLongError, match='set long_queries="pool"') as caught:
            opened(**policies).embed_query(long)
        assert "has 61 tokens and the model reads 60" in str(caught.value)
        assert str(caught.value).startswith("Query:")
    pooled = opened(long_chunks="pool").embed_query(long)
    assert np.array_equal(opened(long_queries="pool").embed_query(long), pooled)
    assert opened(long_queries="pool").fingerprint == opened().fingerprint
    with pytest.raises(DocumentTooLongError, match='set long_chunks="pool"'):
        opened(long_queries="pool").embed_documents([[long]])
    with pytest.raises(ConfigurationError, match="long_queries is one of 'error', 'pool'"):
        Settings(long_queries="cut")


def safetensors(**tensors):
    """Return the bytes of a file with these tensors, each of bytes."""
    header, start = {"__metadata__": {"format": "pt"}}, 0
    for name, data in tensors.items():
        stop = start + len(data)
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [start, stop]}
        start = stop
    head = json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + b"".join(tensors.values())


def test_the_digest_of_tensors_sees_each_of_them(tmp_path):
    """A small tensor between two large ones is seen, and a damaged file has no tensors."""
    path = tmp_path / "model.safetensors"
    digests = set()
    for bias in (b"one", b"two"):
        path.write_bytes(safetensors(a=bytes(500_000), bias=bias, b=bytes(500_000)))
        digests.add(tensor_digest(tmp_path))
    assert len(digests) == 2
    for damaged in (
        b"",
        b"12345678",
        (5).to_bytes(8, "little") + b"[1,2]",
        path.read_bytes()[:50],
    ):
        path.write_bytes(damaged)
        digests.add(tensor_digest(tmp_path))
    assert len(digests) == 3


@pytest.mark.parametrize("opened", [Embedder, Embedder.open])
def test_the_likeliest_first_mistake_is_answered_with_what_was_meant(opened):
    with pytest.raises(ConfigurationError, match=r"Embedder\.open\(model='minilm'\)"):
        opened("minilm")


def test_an_unknown_setting_is_answered_with_the_one_that_was_meant():
    with pytest.raises(ConfigurationError, match=r"Did you mean 'neighbour_weight'\?"):
        Settings.from_dict({"neighbor_weight": 0.1})


def test_the_hint_for_minilm_over_the_api_says_how_a_server_is_asked():
    with pytest.raises(
        ConfigurationError, match="ask a server by base_url for perplexity-ai/pplx"
    ):
        Settings(model="minilm", backend="api").resolve_backend()
    with pytest.raises(ConfigurationError, match=r'ONNX model\. Hint: backend="onnx"'):
        Settings(model="minilm", backend="torch").resolve_backend()


def test_a_missing_torch_is_told_with_the_model_that_needs_none(monkeypatch):
    monkeypatch.setitem(backends._MODULES, "torch", "torch_that_is_absent")
    with pytest.raises(MissingDependencyError) as caught:
        backends.open_backend(Settings())
    told = str(caught.value)
    assert told.index("--model minilm") < told.index("should be installed first")
    assert told.endswith('Run: python -m pip install "ctxembed[torch]"')
