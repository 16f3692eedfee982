"""A checkpoint's tokenizer from its files, which have to agree on which tokens a text has.

What each file says of it is followed, or refused where another says otherwise.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer, Lowercase, Sequence
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from ctxembed.backends.config import read_json
from ctxembed.backends.tokenizer import ChunkTokenizer, from_tokenizer
from ctxembed.checkpoint import lowercases
from ctxembed.errors import EmbedError, ModelLoadError

_BERT_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SAVE = "Hint: make it anew with `AutoTokenizer.from_pretrained(...).save_pretrained(...)`."

# Classes of transformers that take tokenizer.json as it is; others make their own rules from
# tokenizer_config.json, and take the words alone.
_AS_FILED = frozenset(("PreTrainedTokenizerFast", "TokenizersBackend"))
_NAMING = ("tokenizer_config.json", "special_tokens_map.json")
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def load_tokenizer(directory: Path, separator: str | None = None) -> ChunkTokenizer:
    """Return the tokenizer of a model directory, from `tokenizer.json` or a BERT `vocab.txt`.

    `separator` is the token that the model was trained with, None for the tokenizer's own.

    Raises:
        ModelLoadError: no tokenizer that can be read, or none with a separator.
    """
    names = _special_names(directory)
    path = directory / "tokenizer.json"
    if path.is_file():
        with _readable(path):
            tokenizer = Tokenizer.from_file(str(path))
    elif (directory / "vocab.txt").is_file():
        tokenizer = bert_tokenizer(directory / "vocab.txt", _bert_normalizer(directory))
    else:
        raise ModelLoadError(
            f"{directory} has no tokenizer.json. Hint: copy it from where the weights are from, or "
            "make it with `AutoTokenizer.from_pretrained(...).save_pretrained(...)`."
        )
    _check_added(directory, tokenizer)
    made_by_class = _values(directory / "tokenizer_config.json").get("tokenizer_class")
    wordpiece = isinstance(tokenizer.model, WordPiece) and str(made_by_class) not in _AS_FILED
    if wordpiece:
        _check_bert_rules(directory, tokenizer)
    if lowercases(directory):
        own = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = Sequence([Lowercase(), *own])
    with _readable(path):
        made = from_tokenizer(tokenizer, separator, names)
    if wordpiece:
        _check_bert_frame(directory, made)
    return made


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Name the file where the library fails: by a plain Exception, or a panic that is none."""
    try:
        yield
    except EmbedError:
        raise
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise ModelLoadError(
                f"{path} is not a tokenizer that can be read. Hint: fetch the file again."
            ) from error
        raise


def bert_tokenizer(vocabulary: Path, normalizer: BertNormalizer | None = None) -> Tokenizer:
    """Return the WordPiece tokenizer of a BERT model from its list of words."""
    try:
        words = vocabulary.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        ids = {word: number for number, word in enumerate(words)}
        specials = [(name, ids[name]) for name in _BERT_SPECIALS]
    except (OSError, UnicodeDecodeError, KeyError) as error:
        raise ModelLoadError(
            f"{vocabulary} is not the vocabulary of a BERT model. Hint: fetch it again."
        ) from error
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name, _ in specials])
    tokenizer.normalizer = normalizer or BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[specials[2], specials[3]]
    )
    return tokenizer


def _check_added(directory: Path, tokenizer: Tokenizer) -> None:
    """Refuse tokens that only another file adds; special ones are ordinary text in any case."""
    present = tokenizer.get_added_tokens_decoder()
    for file, number, content, flags in _told_tokens(directory):
        found = present.get(number)
        if found is None or found.content != content:
            what = "has no such added token"
        elif any(getattr(found, name) != value for name, value in flags.items()):
            what = "looks for it in another way"
        else:
            continue
        raise ModelLoadError(
            f"{directory}: {file} adds the token {content!r} with the id {number}, and the "
            f"tokenizer {what}. {_SAVE}"
        )


def _told_tokens(directory: Path) -> Iterator[tuple[str, int, str, dict[str, bool]]]:
    """Give file, id, text and flags of each token that another file than tokenizer.json adds."""
    file = "added_tokens.json"
    try:
        for content, number in _values(directory / file).items():
            yield file, int(number), content, {}
        file = "tokenizer_config.json"
        told = _values(directory / file).get("added_tokens_decoder") or {}
        for number, token in told.items():
            if not token.get("special"):
                flags = {name: token[name] for name in _FLAGS if name in token}
                yield file, int(number), token["content"], flags
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelLoadError(
            f"{directory}: {file} has added tokens that are no list of them. {_SAVE}"
        ) from error


def _check_bert_rules(directory: Path, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer.json that cuts words otherwise than tokenizer_config.json says."""
    model = tokenizer.model
    pairs = {
        "normalizer": (tokenizer.normalizer, _bert_normalizer(directory)),
        "pre_tokenizer": (tokenizer.pre_tokenizer, BertPreTokenizer()),
    }
    wrong = [
        name
        for name, (found, wanted) in pairs.items()
        if found is None or found.__getstate__() != wanted.__getstate__()
    ]
    usual = WordPiece({})
    parts = ("continuing_subword_prefix", "max_input_chars_per_word")
    wrong += [name for name in parts if getattr(model, name) != getattr(usual, name)]
    if (_told_names(directory, "unk_token") or {"[UNK]"}) != {model.unk_token}:
        wrong.append("unk_token")
    if wrong:
        raise ModelLoadError(
            f"{directory}: tokenizer.json and tokenizer_config.json (do_lower_case, "
            "strip_accents, tokenize_chinese_chars, unk_token; what it leaves out is a BERT's "
            f"default) differ in {', '.join(wrong)}. {_SAVE}"
        )


def _check_bert_frame(directory: Path, made: ChunkTokenizer) -> None:
    """Refuse a tokenizer.json that puts other tokens around a text than are named elsewhere."""
    for role, ids in (("cls_token", made.opening), ("sep_token", made.closing)):
        for name in _told_names(directory, role):
            if ids != (made.tokenizer.token_to_id(name),):
                raise ModelLoadError(
                    f"{directory}: {role} is {name!r}, and tokenizer.json puts another around a "
                    f"text. {_SAVE}"
                )


def _special_names(directory: Path) -> dict[str, str]:
    """Return special tokens by role; `special_tokens_map.json` has the last word."""
    names: dict[str, str] = {}
    for file in _NAMING:
        names |= _named(directory / file)
    return names


def _told_names(directory: Path, role: str) -> set[str]:
    """Return the special token of a role, of each file that names one."""
    named = [_named(directory / file) for file in _NAMING]
    return {names[role] for names in named if role in names}


def _named(path: Path) -> dict[str, str]:
    names = {}
    for role, token in _values(path).items():
        name = token.get("content") if isinstance(token, dict) else token
        if not role.endswith("_token"):
            continue
        if isinstance(name, str):
            names[role] = name
        elif token is not None and not isinstance(token, bool):  # add_bos_token is true or false
            raise ModelLoadError(f"{path} should name a token as {role}. {_SAVE}")
    return names


def _bert_normalizer(directory: Path) -> BertNormalizer:
    """Return the normalizer that tokenizer_config.json describes, with BERT's own defaults."""
    config = _values(directory / "tokenizer_config.json")
    try:
        return BertNormalizer(
            lowercase=config.get("do_lower_case", True),
            strip_accents=config.get("strip_accents"),
            handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        )
    except TypeError as error:
        raise ModelLoadError(
            f"{directory}: tokenizer_config.json should say true or false under do_lower_case, "
            f"strip_accents and tokenize_chinese_chars. {_SAVE}"
        ) from error


def _values(path: Path) -> dict[str, Any]:
    values = read_json(path)
    return values if isinstance(values, dict) else {}
