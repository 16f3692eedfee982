"""Documents of random sizes, the same in every run."""

import random

WORDS = [
    "the",
    "of",
    "and",
    "river",
    "company",
    "quarter",
    "revenue",
    "grew",
    "by",
    "percent",
    "mountain",
    "window",
    "attention",
    "however",
    "although",
    "1897",
    "founded",
    "second",
    "table",
    "report",
    "naïve",
    "Köln",
    "你好",
    "مرحبا",
    "don't",
    "re-read,",
    "(see)",
    "[SEP]",
    "3.14",
]


def documents(count: int, seed: int, chunks: int = 8, words: int = 40) -> list[list[str]]:
    """Return documents of 1 to `chunks` chunks of 1 to `words` words."""
    draw = random.Random(seed)
    return [
        [
            " ".join(draw.choices(WORDS, k=draw.randint(1, words)))
            for _ in range(draw.randint(1, chunks))
        ]
        for _ in range(count)
    ]
