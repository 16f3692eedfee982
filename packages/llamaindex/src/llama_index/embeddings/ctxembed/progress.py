"""`progress_bar`: documents, chunks and tokens of a call, drawn as documents are finished."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

Advance = Callable[[int], None]
"""Takes the number of chunks of a document that is finished."""


@contextmanager
def progress_bar(documents: int, tokens: Callable[[], int], *, shown: bool) -> Iterator[Advance]:
    """Give a function that moves the bar by one document; `tokens` says how many were read so far.

    Tokens are those of the embedder: what other threads embed with it counts too.
    """
    if not shown:
        yield lambda _: None
        return
    before, chunks = tokens(), 0
    with tqdm(total=documents, unit="document", desc="Embedding") as bar:

        def advance(more: int) -> None:
            nonlocal chunks
            chunks += more
            read = tokens() - before
            seconds = bar.format_dict["elapsed"]
            rate = f"{read / seconds:,.0f} tokens/s" if seconds else ""
            bar.set_postfix_str(f"{chunks:,} chunks, {read:,} tokens, {rate}", refresh=False)
            bar.update()

        yield advance
