"""Chunks to token ids, and windows to the id sequences that a local model reads.

Works on the `tokenizers` library alone. Borders between chunks are made here, before the model
runs, and never searched for afterwards: text that looks like a special token is ordinary text.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice

from tokenizers import Tokenizer
from tokenizers.models import Unigram

from ctxembed.documents import TokenizedChunk
from ctxembed.errors import InputError, ModelLoadError
from ctxembed.windows import Window

Span = tuple[int, int]
"""`(start, stop)` of the tokens that one row is the mean of."""

_PROBES = ("a", "A", "the", "1", ".", "\u7684", "\u0627", "\u0430")
_PROBE_WORDS = 64
_UNKNOWN = ("<unk>", "[UNK]")


@dataclass(frozen=True, slots=True)
class ChunkTokenizer:
    """A tokenizer for chunks, and the ids that stand around and between them.

    `opening` and `closing` go around each window ([CLS] and [SEP] for BERT, nothing for Qwen),
    `separator` between its chunks, `pad` where a batch needs filling. Ids of `reserved` become
    `unknown` in chunks, or nothing. Many threads may use it.
    """

    tokenizer: Tokenizer
    opening: tuple[int, ...]
    closing: tuple[int, ...]
    separator: int
    pad: int
    reserved: frozenset[int] = frozenset()
    unknown: int | None = None

    @property
    def specials(self) -> int:
        """The tokens of every window that are neither chunks, separators nor prefix."""
        return len(self.opening) + len(self.closing)

    def digest(self) -> str:
        """Return a hash of what decides which tokens a text has."""
        rules = (self.tokenizer.to_str(), self.separator, sorted(self.reserved), self.unknown)
        return blake2b(repr(rules).encode(), digest_size=16).hexdigest()

    def highest(self) -> int:
        """Return the highest id that a window can have: special tokens that stand in none don't."""
        added = self.tokenizer.get_added_tokens_decoder()
        special = {number for number, token in added.items() if token.special}
        around = {*self.opening, *self.closing, self.separator, self.pad}
        return max(around.union(self.tokenizer.get_vocab().values()) - (special - around))

    def tokenize(self, chunks: Sequence[str]) -> list[TokenizedChunk]:
        """Return each chunk with its ids: nothing added, nothing cut, each on its own."""
        encodings = self.tokenizer.encode_batch_fast(list(chunks), add_special_tokens=False)
        tokenized = []
        for chunk, encoding in zip(chunks, encodings, strict=True):
            ids: list[int] = encoding.ids
            if not self.reserved.isdisjoint(ids):
                plain = (self.unknown if each in self.reserved else each for each in ids)
                ids = [each for each in plain if each is not None]
            tokenized.append(TokenizedChunk(chunk, len(ids), array("i", ids)))
        return tokenized


def window_ids(
    window: Window, prefix: TokenizedChunk | None, tokenizer: ChunkTokenizer
) -> tuple[array[int], list[Span]]:
    """Return a window's token ids, and one span for each of its chunks.

    A contextual window has its chunks joined by the separator; a span holds the chunk's own tokens
    only. An independent window has one span over everything, prefix and special tokens included,
    as the model was trained.
    """
    ids = array("i", tokenizer.opening)
    if prefix is not None:
        ids.extend(_ids(prefix))
    spans: list[Span] = []
    for number, chunk in enumerate(window.chunks):
        if number:
            ids.append(tokenizer.separator)
        start = len(ids)
        ids.extend(_ids(chunk))
        spans.append((start, len(ids)))
    ids.extend(tokenizer.closing)
    return ids, [(0, len(ids))] if window.independent else spans


def _ids(chunk: TokenizedChunk) -> Sequence[int]:
    if chunk.ids is None:
        raise InputError("a local backend needs the token ids of every chunk.")
    return chunk.ids


def from_tokenizer(
    tokenizer: Tokenizer, separator: str | None = None, names: dict[str, str] | None = None
) -> ChunkTokenizer:
    """Return a `ChunkTokenizer` over a tokenizer, which is changed: it no longer cuts or pads.

    `names` gives special tokens by role ("sep_token", "eos_token", "pad_token"). Where neither
    they nor `separator` name one to stand between chunks, the last that closes a text does.
    """
    names = names or {}
    padding = tokenizer.padding
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    opening, closing = _around(tokenizer)
    wanted = separator or names.get("sep_token")
    between = None if wanted is None else tokenizer.token_to_id(wanted)
    if wanted is None and closing:
        between = closing[-1]
    elif wanted is None and "eos_token" in names:
        between = tokenizer.token_to_id(names["eos_token"])
    if between is None:
        what = "no separator token" if wanted is None else f"no token {wanted!r}"
        raise ModelLoadError(
            f"the tokenizer has {what} to put between chunks. Hint: name one as sep_token in "
            "special_tokens_map.json, or take a model whose tokenizer has one."
        )
    pad = tokenizer.token_to_id(names["pad_token"]) if "pad_token" in names else None
    if pad is None:
        pad = padding["pad_id"] if padding else between
    reserved, unknown = _reserved(tokenizer, names)
    return ChunkTokenizer(tokenizer, opening, closing, between, pad, reserved, unknown)


def _reserved(tokenizer: Tokenizer, names: Mapping[str, str]) -> tuple[frozenset[int], int | None]:
    """Return the special ids that text can spell, and the id of what is unknown.

    Unigram vocabularies have special tokens among their words, and find them in a text even with
    `encode_special_tokens`, which only keeps them from being looked for beforehand.
    """
    if not isinstance(tokenizer.model, Unigram):
        return frozenset(), None
    known = (tokenizer.token_to_id(name) for name in (names.get("unk_token"), *_UNKNOWN) if name)
    unknown = next((number for number in known if number is not None), None)
    added = tokenizer.get_added_tokens_decoder()
    special = {number for number, token in added.items() if token.special}
    return frozenset(special - {unknown}), unknown


def _around(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return what the tokenizer puts before and after a text."""
    tried = False
    for probe in _probes(tokenizer):
        bare = _encoded(tokenizer, probe)
        if not bare:
            continue
        tried, size, whole = True, len(bare), tokenizer.encode(probe).ids
        starts = [n for n in range(len(whole) - size + 1) if whole[n : n + size] == bare]
        if len(starts) == 1:  # a probe may be the opening itself
            return tuple(whole[: starts[0]]), tuple(whole[starts[0] + size :])
    if not tried:
        raise ModelLoadError(
            "the tokenizer gives no token for any text tried. Hint: fetch its file again."
        )
    raise ModelLoadError(
        "the tokenizer changes a text when it adds special tokens: chunks can't be joined."
    )


def _encoded(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return a text's ids, none where the tokenizer has no id for what it doesn't know."""
    try:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    except Exception:  # noqa: BLE001 - the library raises plain Exception
        return []
    return ids


def _probes(tokenizer: Tokenizer) -> Iterator[str]:
    """Give short texts, then words of the vocabulary, which may be of any language or none."""
    yield from _PROBES
    words = tokenizer.get_vocab(with_added_tokens=False)
    yield from islice(sorted(words, key=words.__getitem__), _PROBE_WORDS)


# The library's threads don't survive a fork. It goes on with one thread in the child, and prints a
# warning unless this variable is set by then: so it is, for the child only.
_PARALLELISM = "TOKENIZERS_PARALLELISM"
_set_for_fork = False


def _before_fork() -> None:
    global _set_for_fork  # noqa: PLW0603 - fork handlers have no other place to remember
    _set_for_fork = _PARALLELISM not in os.environ
    if _set_for_fork:
        os.environ[_PARALLELISM] = "false"


def _after_fork_in_parent() -> None:
    if _set_for_fork:
        os.environ.pop(_PARALLELISM, None)


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent)
