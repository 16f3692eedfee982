"""What a user of this project calls."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from engines.batches import Documents


def load(checkpoint: Path, **settings: str) -> Callable[[Documents], list[np.ndarray]]:
    """Return the way from documents to codes; raises what `Embedder.open` raises."""
    from ctxembed import Embedder

    return Embedder.open(model=str(checkpoint), **settings).embed_documents
