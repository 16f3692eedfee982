"""Ten public layouts, random and tiny: the vectors of sentence-transformers, or a refusal by name.

Runs in `nox -s tests-reference`, which has sentence-transformers; elsewhere it is skipped.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import torch
import transformers
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from ctxembed import Embedder
from ctxembed.errors import ConfigurationError

TEXTS = [
    "The river rises in the mountains, they say.",
    "In 1897 it FROZE; Grüße aus Köln, naïve café!",
    "漢字とかな, emoji 😀 and\ttabs",
    "word " * 12,
]
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 130,
}
PARTS = {
    "Transformer": "",
    "Pooling": "1_Pooling",
    "Dense": "2_Dense",
    "Normalize": "2_Normalize",
}
MODES = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")


def write(directory: Path, file: str, values: object) -> None:
    path = directory / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(values))


def save(directory: Path, config, mode: str, parts: str, **about) -> None:
    """Write a random model, and how sentence-transformers reads and pools it."""
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    model.save_pretrained(directory)
    kinds = parts.split()
    write(
        directory,
        "modules.json",
        [
            {
                "idx": number,
                "name": str(number),
                "path": PARTS[kind],
                "type": f"sentence_transformers.models.{kind}",
            }
            for number, kind in enumerate(kinds)
        ],
    )
    modes = {f"pooling_mode_{each}": each == mode for each in MODES}
    write(directory, "1_Pooling/config.json", {"word_embedding_dimension": 32} | modes)
    write(directory, "sentence_bert_config.json", {"max_seq_length": 120, "do_lower_case": False})
    write(directory, "config_sentence_transformers.json", about)


def word_pieces(directory: Path, minilm: Path, **names: str) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(minilm / name, directory)


def byte_pairs(directory: Path, *, opening: str | None, closing: str | None) -> None:
    """A tokenizer of bytes, as it is saved for ModernBERT and Qwen."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: n for n, letter in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "[CLS]", "[SEP]", "[PAD]"]
    made.add_special_tokens(specials)
    around = [name for name in (opening, closing) if name]
    template = " ".join(f"{each}" for each in (opening, "$A", closing) if each)
    if around:
        made.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[(name, made.token_to_id(name)) for name in around]
        )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="[PAD]",
        eos_token="<|endoftext|>",
        **({"cls_token": "[CLS]", "sep_token": "[SEP]"} if around else {}),
    ).save_pretrained(directory)


def sentence_pieces(directory: Path, kind: str) -> None:
    """A Unigram tokenizer of letters and a few words, as it is saved for XLM-R."""
    letters = sorted({letter for text in TEXTS for letter in text if not letter.isspace()})
    words = ["\u2581", "\u2581the", "\u2581river", "ain", "\u2581in", *letters]
    vocabulary = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [(word, -1.0 - n / 10) for n, word in enumerate(words)]
    getattr(transformers, kind)(vocab=vocabulary).save_pretrained(directory)


def minilm(directory: Path, source: Path) -> None:
    shutil.copytree(source, directory, dirs_exist_ok=True)


def mpnet(directory: Path, source: Path) -> None:
    words = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
    ids = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "[UNK]": 4, "<mask>": 5}
    ids |= {word: n + 6 for n, word in enumerate(word for word in words if word[0] != "[")}
    transformers.MPNetTokenizer(vocab=ids).save_pretrained(directory)
    config = transformers.MPNetConfig(**SIZES, vocab_size=len(ids), pad_token_id=1)
    save(directory, config, "mean_tokens", "Transformer Pooling Normalize")


def e5(directory: Path, source: Path) -> None:
    sentence_pieces(directory, "XLMRobertaTokenizer")
    config = transformers.XLMRobertaConfig(**SIZES, vocab_size=300, pad_token_id=1)
    save(
        directory,
        config,
        "mean_tokens",
        "Transformer Pooling Normalize",
        prompts={"query": "query: ", "document": "passage: "},
    )


def bert(mode: str, **about) -> Callable[[Path, Path], None]:
    def make(directory: Path, source: Path) -> None:
        word_pieces(directory, source)
        config = transformers.BertConfig(**SIZES, vocab_size=30522)
        save(directory, config, mode, "Transformer Pooling Normalize", **about)

    return make


def modernbert(directory: Path, source: Path) -> None:
    byte_pairs(directory, opening="[CLS]", closing="[SEP]")
    config = transformers.ModernBertConfig(
        **SIZES, vocab_size=300, pad_token_id=259, local_attention=16
    )
    prompts = {"query": "search_query: ", "document": "search_document: "}
    save(directory, config, "mean_tokens", "Transformer Pooling", prompts=prompts)


def nomic(directory: Path, source: Path) -> None:
    word_pieces(directory, source)
    config = transformers.NomicBertConfig(**SIZES, vocab_size=30528)
    save(directory, config, "mean_tokens", "Transformer Pooling")
    told = json.loads((directory / "config.json").read_text())
    own = "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel"
    write(directory, "config.json", told | {"auto_map": {"AutoModel": own}})


def gte_multilingual(directory: Path, source: Path) -> None:
    e5(directory, source)
    told = json.loads((directory / "config.json").read_text())
    own = {"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"}
    write(directory, "config.json", told | {"model_type": "new", "auto_map": own})
    write(directory, "1_Pooling/config.json", {"pooling_mode_cls_token": True})


def qwen3(directory: Path, source: Path) -> None:
    byte_pairs(directory, opening=None, closing="<|endoftext|>")
    config = transformers.Qwen3Config(
        **SIZES, vocab_size=300, num_key_value_heads=1, head_dim=16, pad_token_id=259
    )
    prompts = {"query": "Instruct: retrieve\nQuery:", "document": ""}
    save(directory, config, "lasttoken", "Transformer Pooling Normalize", prompts=prompts)


def gemma(directory: Path, source: Path) -> None:
    byte_pairs(directory, opening="[CLS]", closing="[SEP]")
    config = transformers.Gemma3TextConfig(
        **SIZES,
        vocab_size=300,
        num_key_value_heads=1,
        head_dim=16,
        pad_token_id=259,
        use_bidirectional_attention=True,
    )
    prompts = {"query": "task: search result | query: ", "document": "title: none | text: "}
    save(directory, config, "mean_tokens", "Transformer Pooling Dense Normalize", prompts=prompts)


SAME: dict[str, Callable[[Path, Path], None]] = {
    "all-MiniLM-L6-v2": minilm,
    "all-mpnet-base-v2": mpnet,
    "multilingual-e5": e5,
    "gte-base": bert("mean_tokens"),
    "modernbert-embed": modernbert,
    "nomic-embed-text-v1.5": nomic,
}
REFUSED: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "bge-small-en-v1.5": (bert("cls_token"), "pools by cls_token"),
    "snowflake-arctic-embed-s": (
        bert("cls_token", prompts={"query": "Represent this sentence: "}),
        "pools by cls_token",
    ),
    "gte-multilingual-base": (gte_multilingual, "pools by cls_token"),
    "Qwen3-Embedding-0.6B": (qwen3, "pools by lasttoken"),
    "embeddinggemma-300m": (gemma, r"another layer \(Dense\)"),
}


@pytest.mark.parametrize("name", SAME)
def test_a_mean_pooled_layout_gives_their_vectors(
    minilm_checkpoint: Path, tmp_path: Path, name: str
):
    SAME[name](tmp_path, minilm_checkpoint)
    theirs = SentenceTransformer(str(tmp_path), device="cpu")
    ours = Embedder.open(model=str(tmp_path), encoding="float", normalize=True, context_weight=0.0)
    documents = theirs.encode_document(TEXTS, normalize_embeddings=True)
    queries = theirs.encode_query(TEXTS, normalize_embeddings=True)
    found = np.concatenate(ours.embed_documents([[text] for text in TEXTS]))

    assert (found * documents).sum(1).min() > 0.99999
    assert (ours.embed_queries(TEXTS) * queries).sum(1).min() > 0.99999


@pytest.mark.parametrize("name", REFUSED)
def test_another_layout_is_refused_by_name(minilm_checkpoint: Path, tmp_path: Path, name: str):
    make, words = REFUSED[name]
    make(tmp_path, minilm_checkpoint)
    with pytest.raises(ConfigurationError, match=rf"{words}.*Hint"):
        Embedder.open(model=str(tmp_path), backend="torch")
