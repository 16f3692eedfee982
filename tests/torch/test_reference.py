"""Vectors are those of a naive late chunking in float64."""

import json
from pathlib import Path

import naive
import numpy as np
import pytest
import texts
import torch

from ctxembed import Embedder
from ctxembed.settings import Settings
from ctxembed.windows import layout_for, plan_windows

CARD = [
    "Curiosity begins in childhood with endless questions about the world.",
    "As we grow, curiosity drives us to explore new ideas.",
    "Scientific breakthroughs often start with a curious question.",
]


def ids_of(embedder: Embedder, chunks: list[str]) -> list[list[int]]:
    return [list(chunk.ids or ()) for chunk in embedder.backend.tokenize(chunks)]


def assert_codes(expected: np.ndarray, actual: np.ndarray, share: float = 0.999) -> None:
    difference = np.abs(expected.astype(int) - actual.astype(int))
    assert difference.max() <= 1
    assert (difference == 0).mean() >= share


def test_the_naive_forward_is_that_of_stock_qwen3_without_a_causal_mask(pplx_checkpoint: Path):
    from safetensors.torch import load_file
    from transformers import Qwen3Config, Qwen3Model

    told = json.loads((pplx_checkpoint / "config.json").read_text())
    config = Qwen3Config(**{k: v for k, v in told.items() if k not in ("auto_map", "model_type")})
    config.is_causal = False
    model = Qwen3Model(config).eval()
    model.load_state_dict(load_file(pplx_checkpoint / "model.safetensors"))
    ids = list(range(100, 140))
    with torch.no_grad():
        stock = model.double()(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()

    assert np.abs(stock - naive.states(pplx_checkpoint, ids)).max() < 1e-5


def test_codes_equal_the_naive_reference(pplx_checkpoint: Path):
    documents = [CARD, *texts.documents(40, seed=1)]
    with Embedder.open(model=str(pplx_checkpoint)) as embedder:
        found = np.concatenate(embedder.embed_documents(documents))
        expected = np.concatenate(
            [naive.codes(pplx_checkpoint, ids_of(embedder, chunks)) for chunks in documents]
        )

    assert 10 < np.sqrt((expected.astype(float) ** 2).mean()) < 40  # as the real model's
    assert_codes(expected, found)


@pytest.mark.parametrize("encoding", ["float", "binary", "ubinary"])
def test_other_encodings_equal_the_naive_reference(pplx_checkpoint: Path, encoding: str):
    with Embedder.open(model=str(pplx_checkpoint), encoding=encoding) as embedder:
        (found,) = embedder.embed_documents([CARD])
        pooled = naive.pooled(pplx_checkpoint, ids_of(embedder, CARD))

    signs = pooled >= 0
    if encoding == "float":
        assert_codes(np.rint(np.tanh(pooled) * 127), np.rint(found * 127))
    elif encoding == "binary":
        assert np.array_equal(np.where(signs, 1, -1), found)
    else:
        assert np.array_equal(np.packbits(signs, axis=-1), found)


def test_bfloat16_stays_close_to_the_naive_reference(pplx_checkpoint: Path):
    documents = texts.documents(20, seed=2)
    with Embedder.open(model=str(pplx_checkpoint), dtype="bfloat16") as embedder:
        found = np.concatenate(embedder.embed_documents(documents)).astype(float)
        expected = np.concatenate(
            [naive.codes(pplx_checkpoint, ids_of(embedder, chunks)) for chunks in documents]
        ).astype(float)

    cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1)
    cosine /= np.linalg.norm(expected, axis=1)
    assert cosine.min() >= 0.999


def test_a_separator_s_text_in_a_chunk_moves_no_other_chunk_s_span(whole_pplx_checkpoint: Path):
    chunks = ["a <|endoftext|> b", "one more", "<|endoftext|>", "and the last"]
    with Embedder.open(model=str(whole_pplx_checkpoint)) as embedder:
        (found,) = embedder.embed_documents([chunks])
        ids = ids_of(embedder, chunks)

    assert ids[0] == [64, 82639, 8691, 723, 427, 91, 29, 293]
    assert_codes(naive.codes(whole_pplx_checkpoint, ids), found)


def test_a_query_is_a_document_of_one_chunk(pplx_checkpoint: Path):
    with Embedder.open(model=str(pplx_checkpoint)) as embedder:
        query = embedder.embed_query("What is curiosity?")
        (document,) = embedder.embed_documents([["What is curiosity?"]])
        ids = ids_of(embedder, ["What is curiosity?"])

    assert_codes(document[0], query)
    assert_codes(naive.codes(pplx_checkpoint, ids)[0], query)


def test_a_prefix_is_read_by_every_window_and_has_no_row(pplx_checkpoint: Path):
    with Embedder.open(model=str(pplx_checkpoint), document_prefix="passage: ") as embedder:
        (found,) = embedder.embed_documents([CARD])
        prefix, *chunks = ids_of(embedder, ["passage: ", *CARD])

    separator = naive.separator_id(pplx_checkpoint)
    ids = [*prefix, *[token for chunk in chunks for token in [*chunk, separator]][:-1]]
    hidden = naive.states(pplx_checkpoint, ids)
    first = len(prefix)
    expected = []
    for chunk in chunks:
        expected.append(np.tanh(hidden[first : first + len(chunk)].mean(0)) * 127)
        first += len(chunk) + 1
    assert_codes(np.rint(np.stack(expected)), found, share=0.99)


def test_every_row_of_a_long_document_is_the_reference_on_its_window(
    whole_pplx_checkpoint: Path,
):
    chunks = [text for document in texts.documents(30, seed=3) for text in document][:24]
    settings = Settings(model=str(whole_pplx_checkpoint), window_tokens=300, overlap_tokens=100)
    with Embedder.open(settings) as embedder:
        (found,) = embedder.embed_documents([chunks])
        tokenized = embedder.backend.tokenize(chunks)
        windows = plan_windows(0, tokenized, layout_for(settings, embedder.backend.spec))
    with Embedder.open(model=str(whole_pplx_checkpoint)) as embedder:
        (whole,) = embedder.embed_documents([chunks])

    assert len(windows) >= 3
    seen = []
    for window in windows:
        rows = naive.codes(whole_pplx_checkpoint, [list(chunk.ids) for chunk in window.chunks])
        kept = slice(window.keep.start - window.first, window.keep.stop - window.first)
        assert_codes(rows[kept], found[window.keep.start : window.keep.stop], share=0.99)
        seen += window.keep
    assert sorted(seen) == list(range(len(chunks)))
    assert found.any(axis=1).all()
    # what another window changes: context only, so the rows stay close to those of one large window
    one, two = found.astype(float), whole.astype(float)
    cosine = (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    assert np.median(cosine) > 0.9
    assert cosine.min() < 1


def test_a_model_not_trained_for_context_embeds_each_chunk_alone(
    tmp_path: Path, short_tokenizer_json: str
):
    from pplx import SHORT_VOCABULARY, write_pplx

    told = {"AutoModel": "modeling.PPLXQwen3Model"}
    changes = SHORT_VOCABULARY | {"num_hidden_layers": 1, "auto_map": told}
    directory = write_pplx(tmp_path, short_tokenizer_json, **changes)
    with Embedder.open(model=str(directory)) as embedder:
        (together,) = embedder.embed_documents([CARD])
        alone = embedder.embed_documents([[chunk] for chunk in CARD])
        (mixed,) = Embedder.open(model=str(directory), context_weight=1.0).embed_documents([CARD])

    assert_codes(np.concatenate(alone), together)
    assert not np.array_equal(mixed, together)
