"""The real vocabulary of the pplx models as a `tokenizer.json`, from files in a package."""

import base64
from importlib.util import find_spec
from pathlib import Path

SEPARATOR_ID = 151643
VOCABULARY = 151_936

SHORT = 16_000
"""The words of the short vocabulary, which opens in a tenth of the time; then the separator."""

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def tokenizer_json(words: int | None = None) -> str:
    """Return the `tokenizer.json` that the public vocabulary makes, or its first words alone.

    The first words are the most frequent ones. A cut vocabulary reads every text too, as bytes if
    need be.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import BPE
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    package = Path(find_spec("dashscope").origin).parent  # not imported: it needs what tests don't
    lines = (package / "resources" / "qwen.tiktoken").read_bytes().splitlines()[:words]
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}
    letters = bytes_to_unicode()

    def spelt(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        cuts = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        pairs = [(one, two) for one, two in cuts if one in ranks and two in ranks]
        pairs.sort(key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
        merges += [(spelt(one), spelt(two)) for one, two in pairs]
    tokenizer = Tokenizer(BPE({spelt(token): rank for token, rank in ranks.items()}, merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    names = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    return tokenizer.to_str()
