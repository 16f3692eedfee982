"""Each row of the table in docs/backends.md: what a checkpoint says is followed or refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

import onnx_graphs
from checkpoints import TINY_WORDS, copy_of

from ctxembed import Embedder, Settings
from ctxembed.errors import ConfigurationError, ModelLoadError

REFUSALS = (ConfigurationError, ModelLoadError)
TEXT = "The Quick brown Fox"
PAGE = Path(__file__).parents[2] / "docs" / "backends.md"
BACKENDS = ("torch", "onnx")


@pytest.fixture
def base(tiny_bert: Path, tmp_path: Path) -> Path:
    """The tiny BERT with a graph beside its weights, which is another model of the same sizes."""
    directory = copy_of(tiny_bert, tmp_path / "base")
    words = np.random.default_rng(0).normal(size=(TINY_WORDS, 32)).astype(np.float32)
    (directory / "onnx").mkdir()
    (directory / "onnx" / "model.onnx").write_bytes(onnx_graphs.encoder(words))
    return directory


def vector(directory: Path, backend: str, text: str = TEXT, **settings) -> np.ndarray:
    options = {"encoding": "float", "normalize": True, "context_weight": 0.0} | settings
    with Embedder.open(model=str(directory), backend=backend, **options) as embedder:
        return embedder.embed_documents([[text]])[0][0]


def same(one: np.ndarray, two: np.ndarray) -> bool:
    return one.shape == two.shape and float(one @ two) > 1 - 1e-6


def say(directory: Path, file: str, **values) -> None:
    """Change keys of a JSON file, which may not be there yet."""
    path = directory / file
    path.parent.mkdir(exist_ok=True)
    told = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(told | values))


def part(directory: Path, number: int, **values) -> None:
    """Change keys of one part in modules.json, or add it."""
    path = directory / "modules.json"
    parts = [*json.loads(path.read_text()), {"path": "3_New", "name": "3"}]
    parts[number] |= values
    path.write_text(json.dumps([each for each in parts if "type" in each]))


def drop(directory: Path, file: str) -> None:
    path = directory / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()


POOLING, ABOUT, READS = (
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
)
ADAPTER = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
ST = "sentence_transformers.models"

Change = Callable[[Path], None]

# For each row: ways to say it, with the words of the refusal.
REFUSED: dict[str, list[tuple[Change, str]]] = {
    "`1_Pooling/config.json`: any other mode, or several": [
        (lambda d: say(d, POOLING, pooling_mode=["cls", "max"]), r"pools by 2 modes \(cls, max\)"),
        (
            lambda d: say(d, POOLING, pooling_mode=["mean", "mean"]),
            r"pools by 2 modes \(mean, mean\)",
        ),
        (lambda d: say(d, POOLING, pooling_mode="lasttoken"), "pools by lasttoken"),
        (lambda d: say(d, POOLING, pooling_mode=[]), "pools by 0 modes"),
        (lambda d: say(d, POOLING, pooling_mode_cls_token=1), "pools by cls_token"),
    ],
    "`1_Pooling/config.json`: `include_prompt` false, where there is a prompt": [
        (
            lambda d: (
                say(d, POOLING, include_prompt=False),
                say(d, ABOUT, prompts={"query": "query: "}),
            ),
            "include_prompt",
        )
    ],
    "`modules.json`: a Pooling whose folder is not there, or none": [
        (lambda d: drop(d, "1_Pooling"), "has a Pooling in '1_Pooling'"),
        (lambda d: part(d, 1, type=f"{ST}.Normalize"), "names no Pooling"),
    ],
    "`modules.json`: any other part (`Dense`, ...), or one of another package": [
        (lambda d: part(d, 3, type=f"{ST}.Dense"), r"another layer \(Dense\)"),
        (lambda d: part(d, 1, type="my_package.Pooling"), r"another layer \(Pooling\)"),
    ],
    "`modules.json`: a model in a folder of its own, or a folder outside": [
        (lambda d: part(d, 0, path="0_Transformer"), "has its model in '0_Transformer'"),
        (lambda d: part(d, 1, path="../1_Pooling"), "outside the directory"),
        (lambda d: part(d, 1, path="/1_Pooling"), "outside the directory"),
    ],
    "`config_sentence_transformers.json`: `default_prompt_name`, where a role has no prompt": [
        (
            lambda d: say(d, ABOUT, prompts={"x": "text: "}, default_prompt_name="x"),
            "no prompt named 'query'",
        ),
        (
            lambda d: say(d, ABOUT, prompts={"query": "q: "}, default_prompt_name="query"),
            "no prompt named 'document'",
        ),
    ],
    "`config_sentence_transformers.json`: `model_type` of a cross or sparse encoder": [
        (lambda d: say(d, ABOUT, model_type="CrossEncoder"), "CrossEncoder under model_type"),
        (lambda d: say(d, ABOUT, model_type="SparseEncoder"), "SparseEncoder under model_type"),
    ],
    "`sentence_bert_config.json`: arguments for the model or the tokenizer, another task": [
        (lambda d: say(d, READS, model_args={"num_hidden_layers": 1}), "num_hidden_layers"),
        (lambda d: say(d, READS, processor_kwargs={"do_lower_case": False}), "processor_kwargs"),
        (
            lambda d: say(d, READS, transformer_task="fill-mask"),
            "fill-mask under transformer_task",
        ),
        (lambda d: say(d, READS, modality_config={"message": {}}), "text under modality_config"),
    ],
    "`config.json`: `architectures` of a classifier, without `modules.json`": [
        (
            lambda d: (
                drop(d, "modules.json"),
                say(d, "config.json", architectures=["BertForSequenceClassification"]),
            ),
            "BertForSequenceClassification under architectures",
        )
    ],
    "`config.json`: `auto_map` with another class than the stock one, or of a decoder": [
        (
            lambda d: say(d, "config.json", auto_map={"AutoModel": "modeling.OtherBert"}),
            r"auto_map \(modeling\.OtherBert\)",
        )
    ],
    "`config.json`: `quantization_config`": [
        (
            lambda d: say(d, "config.json", quantization_config={"quant_method": "gptq"}),
            "gptq under quantization_config",
        )
    ],
    "`config.json`: sizes that are not those of the weights": [
        (lambda d: say(d, "config.json", num_hidden_layers=10**9), "1000000000 under num_hidden"),
        (lambda d: say(d, "config.json", num_labels=10**9), "1000000000 under num_labels"),
        (lambda d: say(d, "config.json", hidden_size=10**12), "1000000000000 under hidden_size"),
        (lambda d: say(d, "config.json", intermediate_size=49), "can't load"),
    ],
    "`config.json`: a `vocab_size` below the tokenizer's": [
        (lambda d: say(d, "config.json", vocab_size=5000), "knows 6000 tokens and the model 5000"),
    ],
    "`tokenizer_config.json`: `do_lower_case`, `strip_accents`, `tokenize_chinese_chars`": [
        (lambda d: say(d, "tokenizer_config.json", do_lower_case=False), "differ in normalizer"),
        (lambda d: say(d, "tokenizer_config.json", strip_accents=False), "differ in normalizer"),
        (lambda d: say(d, "tokenizer_config.json", do_lower_case="x"), "true or false under"),
        (lambda d: say(d, "tokenizer_config.json", unk_token="[PAD]"), "differ in unk_token"),
        (lambda d: say(d, "special_tokens_map.json", cls_token="[SEP]"), "cls_token is '.SEP.'"),
        (lambda d: say(d, "special_tokens_map.json", sep_token={}), "name a token as sep_token"),
    ],
    "`added_tokens.json`, `added_tokens_decoder`: what `tokenizer.json` has not": [
        (lambda d: say(d, "added_tokens.json", fox=5999), "'fox' with the id 5999"),
        (lambda d: say(d, "added_tokens.json", fox=[1]), "no list of them"),
        (
            lambda d: say(
                d, "tokenizer_config.json", added_tokens_decoder={"5999": {"content": "fox"}}
            ),
            "'fox' with the id 5999",
        ),
    ],
    "`adapter_config.json`: plain LoRA on linear layers": [
        (lambda d: say(d, "adapter_config.json", **ADAPTER), r"adapter_config\.json"),
    ],
    "`adapter_config.json`: anything else (DoRA, biases, ...), or without a model": [
        (lambda d: say(d, "adapter_config.json", peft_type="IA3"), "adapter"),
        (
            lambda d: (say(d, "adapter_config.json", **ADAPTER), drop(d, "config.json")),
            "an adapter alone",
        ),
    ],
    "`model.safetensors.index.json`: files outside the directory": [
        (
            lambda d: say(
                d, "model.safetensors.index.json", weight_map={"x": "../model.safetensors"}
            ),
            r"names '\.\./model\.safetensors'",
        ),
        (
            lambda d: say(
                d, "model.safetensors.index.json", weight_map={"x": "other.safetensors"}
            ),
            r"has model\.safetensors, and .* names others",
        ),
    ],
    "external data outside the graph's directory": [
        (
            lambda d: (d / "onnx" / "model.onnx").write_bytes(
                onnx_graphs.encoder(np.zeros((TINY_WORDS, 32), np.float32), external="../data")
            ),
            r"has its data in '\.\./data'",
        )
    ],
}


def cased(directory: Path) -> None:
    """Let the tokenizer keep capital letters, in both of its files."""
    told = json.loads((directory / "tokenizer.json").read_text())
    told["normalizer"]["lowercase"] = False
    (directory / "tokenizer.json").write_text(json.dumps(told))
    say(directory, "tokenizer_config.json", do_lower_case=False)


def lower_case_is_followed(base: Path, directory: Path, backend: str) -> None:
    cased(base)
    cased(directory)
    say(directory, READS, do_lower_case=True)

    assert same(vector(directory, backend), vector(base, backend, TEXT.lower()))
    assert not same(vector(directory, backend), vector(base, backend))
    fingerprints = {Settings(model=str(each)).fingerprint() for each in (base, directory)}
    assert len(fingerprints) == 2


def lower_case_of_a_list_of_words_is_followed(base: Path, directory: Path, backend: str) -> None:
    words = json.loads((base / "tokenizer.json").read_text())["model"]["vocab"]
    for each in (base, directory):
        (each / "vocab.txt").write_text("\n".join(sorted(words, key=words.__getitem__)) + "\n")
        drop(each, "tokenizer.json")
    say(directory, "tokenizer_config.json", do_lower_case=False)

    assert same(vector(base, backend), vector(base, backend, TEXT.lower()))
    assert not same(vector(directory, backend), vector(base, backend))


def prompts_are_followed(base: Path, directory: Path, backend: str) -> None:
    say(directory, ABOUT, prompts={"query": "query: ", "passage": "a text: "})
    settings = Settings(model=str(directory), backend=backend, context_weight=0.0, normalize=True)
    queries = Embedder.open(settings).embed_query(TEXT)

    assert same(vector(directory, backend), vector(base, backend, f"a text: {TEXT}"))
    other = Settings(model=str(base), backend=backend, context_weight=0.0, normalize=True)
    assert same(queries, Embedder.open(other).embed_query(f"query: {TEXT}"))


def the_mean_is_followed(base: Path, directory: Path, backend: str) -> None:
    say(directory, POOLING, pooling_mode=["mean"])

    assert same(vector(directory, backend), vector(base, backend))


def plain_lora_is_followed(base: Path, directory: Path, backend: str) -> None:
    from safetensors.numpy import save_file

    say(directory, "adapter_config.json", **ADAPTER)
    ones = {"A": np.ones((2, 32), np.float32), "B": np.eye(32, 2, dtype=np.float32)}
    name = "base_model.model.encoder.layer.0.attention.self.query.lora_{}.weight"
    save_file(
        {name.format(letter): each for letter, each in ones.items()},
        directory / "adapter_model.safetensors",
    )

    assert not same(vector(directory, backend), vector(base, backend))


FOLLOWED: dict[str, Callable[[Path, Path, str], None]] = {
    "`1_Pooling/config.json`: the mean": the_mean_is_followed,
    "`config_sentence_transformers.json`: `prompts` for query, and document or passage": (
        prompts_are_followed
    ),
    "`sentence_bert_config.json`: `do_lower_case`": lower_case_is_followed,
    "`tokenizer_config.json`: `do_lower_case`, `strip_accents`, `tokenize_chinese_chars`": (
        lower_case_of_a_list_of_words_is_followed
    ),
    "`adapter_config.json`: plain LoRA on linear layers": plain_lora_is_followed,
}


def write_python(directory: Path) -> None:
    (directory / "modeling.py").write_text('raise RuntimeError("this must not run")')
    (directory / "tokenization.py").write_text('raise RuntimeError("this must not run")')


def without_norm(directory: Path) -> None:
    path = directory / "modules.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:2]))


# What changes no vector, where the table says "not read" for a backend.
UNREAD: dict[str, Change] = {
    "`modules.json`: `Normalize`": without_norm,
    "`sentence_bert_config.json`: `max_seq_length`": lambda d: say(d, READS, max_seq_length=3),
    "`tokenizer.json`: truncation and padding": lambda d: say(
        d, "tokenizer.json", truncation=None, padding=None
    ),
    "`*.py`": write_python,
}


def table() -> dict[str, dict[str, str]]:
    """Return what the page says under each backend, by the first cell of a row."""
    section = PAGE.read_text().partition("### What a checkpoint says")[2].partition("\n###")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "|" in line]
    return {row[0]: dict(zip(BACKENDS, row[1:], strict=True)) for row in rows[2:]}


ROWS = table()


# Decoders, whose rows have tests of their own below.
DECODERS = {
    "`config.json`: `is_causal`, `use_bidirectional_attention` of a stock decoder",
    *(row for row in ROWS if "of a pplx model" in row),
}


def rows(word: str) -> list[tuple[str, str]]:
    """Return row and backend of each cell with a word."""
    return [(row, name) for row, cells in ROWS.items() for name in BACKENDS if word in cells[name]]


def test_every_row_has_its_cases():
    assert set(ROWS) == {*REFUSED, *FOLLOWED, *UNREAD, *DECODERS}
    assert {row for row, _ in rows("refused")} - DECODERS == {*REFUSED}
    assert {row for row, _ in rows("followed")} - DECODERS == {*FOLLOWED}


@pytest.mark.parametrize(
    ("row", "backend", "change", "words"),
    [
        (row, backend, change, words)
        for row, backend in rows("refused")
        for change, words in REFUSED.get(row, ())
    ],
)
def test_what_is_refused(base: Path, row: str, backend: str, change: Change, words: str):
    change(base)
    with pytest.raises(REFUSALS, match=rf"{words}.*Hint"):
        vector(base, backend)
    if "unless `pooling" in ROWS[row][backend]:
        assert vector(base, backend, pooling="mean").shape == (32,)
    if "unless the prefix" in ROWS[row][backend]:
        assert vector(base, backend, query_prefix="", document_prefix="").shape == (32,)


@pytest.mark.parametrize(
    ("row", "backend"), [pair for pair in rows("followed") if pair[0] in FOLLOWED]
)
def test_what_is_followed(base: Path, tmp_path: Path, row: str, backend: str):
    FOLLOWED[row](base, copy_of(base, tmp_path / "copy"), backend)


@pytest.mark.parametrize(
    ("row", "backend", "change"),
    [
        (row, backend, change)
        for row, backend in rows("not read")
        for change in [UNREAD.get(row), *(each for each, _ in REFUSED.get(row, ()))]
        if change is not None
    ],
)
def test_what_changes_nothing(base: Path, tmp_path: Path, row: str, backend: str, change: Change):
    if row.startswith("`config.json`: sizes"):
        change = lambda d: say(d, "config.json", num_hidden_layers=10**9)  # noqa: E731 - its width is read
    directory = copy_of(base, tmp_path / "copy")
    change(directory)

    assert same(vector(directory, backend), vector(base, backend))


@pytest.mark.parametrize(
    ("told", "words"),
    [({"is_causal": True}, "is_causal"), ({"use_bidirectional_attention": False}, "use_bidir")],
)
def test_a_pplx_model_that_reads_left_to_right_is_refused(
    pplx_checkpoint: Path, tmp_path: Path, told: dict, words: str
):
    directory = copy_of(pplx_checkpoint, tmp_path / "copy")
    say(directory, "config.json", **told)
    with pytest.raises(ModelLoadError, match=words):
        vector(directory, "torch")


def test_a_tokenizer_that_makes_its_library_panic_is_named(base: Path):
    """A template with a token that it does not define: the panic is no Exception."""
    path = base / "tokenizer.json"
    told = json.loads(path.read_text())
    told["post_processor"]["special_tokens"] = {}
    path.write_text(json.dumps(told))
    with pytest.raises(ModelLoadError, match=r"tokenizer\.json is not a tokenizer"):
        vector(base, "onnx")


def decoder(directory: Path, base: Path, kind: str) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "vocab_size": TINY_WORDS}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = getattr(transformers, f"{kind}Config")(**sizes, pad_token_id=0)
    transformers.AutoModel.from_config(config).save_pretrained(directory)
    for name in ("tokenizer.json", "tokenizer_config.json", "modules.json"):
        shutil.copy(base / name, directory)
    shutil.copytree(base / "1_Pooling", directory / "1_Pooling")


def test_a_stock_decoder_reads_as_its_configuration_says(base: Path, tmp_path: Path):
    directory = tmp_path / "decoder"
    decoder(directory, base, "Qwen2")
    causal = vector(directory, "torch")
    say(directory, "config.json", is_causal=False)
    assert not same(causal, vector(directory, "torch"))

    say(directory, "config.json", is_causal=None, use_bidirectional_attention=True)
    with pytest.raises(ModelLoadError, match=r"reads left to right\. Hint"):
        vector(directory, "torch")
    say(directory, "config.json", use_bidirectional_attention=None)
    say(directory, "config.json", auto_map={"AutoModel": "modeling.Qwen2Model"})
    with pytest.raises(ConfigurationError, match=r"auto_map \(modeling\.Qwen2Model\)"):
        vector(directory, "torch")
