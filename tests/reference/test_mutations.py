"""A checkpoint with damaged files gives sentence-transformers' vectors, or an error of ours.

Runs in `nox -s tests-reference`, which has sentence-transformers; elsewhere it is skipped.
"""

import json
import shutil
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

from sentence_transformers import SentenceTransformer

from ctxembed import Embedder
from ctxembed.errors import EmbedError

FILES = (
    "config.json",
    "modules.json",
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
TEXTS = ["The River rises, in 1897!", "caf\u00e9 \u4e2d\u6587 \u6f22\u5b57 it's a-b"]
VALUES = [
    *(None, True, False, 0, 1, 2, -1, 3, 7.5, 10**9, 10**12, "", "x", "[SEP]", "mean", "cls"),
    *([], {}, ["mean"], ["cls", "max"], [1], {"a": 1}, {"document": "text: "}),
]
ADDED = (
    *("do_lower_case", "strip_accents", "tokenize_chinese_chars", "tokenizer_class", "is_causal"),
    *("pooling_mode", "pooling_mode_cls_token", "include_prompt", "prompts", "model_type"),
    *("default_prompt_name", "added_tokens_decoder", "auto_map", "architectures", "unk_token"),
    *("quantization_config", "num_labels", "is_decoder", "num_hidden_layers", "tokenizer_args"),
    *("hidden_act", "position_embedding_type", "layer_norm_eps", "path", "type", "cls_token"),
)
PARTS, EACH = 40, 250


def places(values: Any) -> list[tuple[Any, Any]]:
    """Return container and key of everything in a JSON value, words of a vocabulary left out."""
    found = []
    pairs = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in list(pairs):
        found.append((values, key))
        if isinstance(value, dict | list) and value and key not in {"vocab", "decoder"}:
            found += places(value)
    return found


def mutate(values: Any, random: Random) -> None:
    """Change one thing: a value, a key, an entry, or which of two words has which id."""
    words = values.get("model", {}) if isinstance(values, dict) else {}
    words = words.get("vocab") if isinstance(words, dict) else None
    if isinstance(words, dict) and words and random.random() < 0.2:
        one, two = random.sample(sorted(words), 2)
        words[one], words[two] = words[two], words[one]
        return
    if isinstance(values, dict) and random.random() < 0.25:
        values[random.choice(ADDED)] = deepcopy(random.choice(VALUES))
        return
    spots = places(values)
    container, key = random.choice(spots)
    value, kind = container[key], random.random()
    if kind < 0.2:
        del container[key]
    elif kind < 0.4:
        other, name = random.choice(spots)
        container[key] = deepcopy(other[name])
    elif isinstance(value, bool):
        container[key] = not value
    elif isinstance(value, int | float) and kind < 0.8:
        container[key] = value + random.choice((-1, 1, 5)) if kind < 0.6 else value * 2
    elif isinstance(value, str) and kind < 0.7:
        container[key] = value[:-1] if kind < 0.55 else value + "s"
    else:
        container[key] = deepcopy(random.choice(VALUES))


def vectors(directory: Path) -> np.ndarray | None:
    """Return ours for documents and queries, None where the checkpoint is refused."""
    settings = {"encoding": "float", "normalize": True, "context_weight": 0.0}
    try:
        with Embedder.open(model=str(directory), backend="torch", **settings) as embedder:
            documents = embedder.embed_documents([[text] for text in TEXTS])
            return np.concatenate([*documents, embedder.embed_queries(TEXTS)])
    except EmbedError:
        return None


def theirs(directory: Path) -> np.ndarray | None:
    """Return sentence-transformers' for the same, None where it refuses for whatever reason."""
    try:
        model = SentenceTransformer(str(directory), device="cpu")
        model.max_seq_length = 128  # nothing is cut by ours
        documents = model.encode_document(TEXTS, normalize_embeddings=True)
        return np.concatenate([documents, model.encode_query(TEXTS, normalize_embeddings=True)])
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - panics of Rust are no Exception
        return None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of theirs
@pytest.mark.parametrize("part", range(PARTS))
def test_a_vector_is_theirs_or_there_is_none(tiny_bert: Path, tmp_path: Path, part: int):
    """10,000 mutations of one to three files. About a minute per part."""
    wrong, given = [], 0
    for number in range(part * EACH, (part + 1) * EACH):
        random = Random(number)
        directory = tmp_path / str(number)
        shutil.copytree(tiny_bert, directory)
        changed = random.sample(FILES, random.choice((1, 1, 1, 2, 3)))
        for file in changed:
            values = json.loads((directory / file).read_text())
            mutate(values, random)
            (directory / file).write_text(json.dumps(values))
        try:
            ours = vectors(directory)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - panics of Rust too: there is to be none
            wrong.append(f"{number} {changed}: {error!r}")
            continue
        if ours is not None:
            given += 1
            expected = theirs(directory)
            if expected is not None and (ours * expected).sum(1).min() < 0.9999:
                wrong.append(f"{number} {changed}: cosine {(ours * expected).sum(1).min()}")
        shutil.rmtree(directory)

    assert not wrong, "\n".join(wrong)
    assert given > EACH / 10
